import os

import numpy as np
import pytest
import torch
from files import bad_files
from pictures import chw, save, scene
from PIL import Image
from torchvision.transforms import v2

from vaelab.data import image_folder
from vaelab.data.image_folder import ImageFolder

SPLITS = ("train", "val", "test")


def opened(root, **settings):
    data = ImageFolder(str(root), **{"shape": (3, 8, 8), **settings})
    data.prepare_data()
    data.setup()
    return data


def write(root, names):
    """A different picture of 8x8 for every name."""
    for number, name in enumerate(names):
        save(scene(number, (8, 8)), root / name)


def many(count=60, folder="", first=0):
    return [f"{folder}{number:03d}.png" for number in range(first, first + count)]


def content(data, *splits):
    """What is in the pictures, for comparing sets of them."""
    return {bytes(x.numpy()) for split in splits or SPLITS for x in data.splits[split].images}


def kept(root, image, suffix=".png", shape=(3, 8, 8), crop=None, **options):
    """What the data set makes of one picture."""
    save(image, root / f"train/picture{suffix}", **options)
    write(root, ["test/other.png"])
    data = opened(root, shape=shape, crop=crop, validation=0)
    return data.splits["train"].images[0].numpy().astype(int)


def test_a_folder_of_pictures_is_three_splits_of_uint8(tmp_path):
    names = many()
    write(tmp_path, names)
    data = opened(tmp_path)
    assert sum(len(split.images) for split in data.splits.values()) == len(names)
    assert data.pixels == "levels"
    assert content(data) == {
        bytes(chw(scene(i, (8, 8))).copy().tobytes()) for i in range(len(names))
    }
    assert data.splits["train"].labels.shape == (len(data.splits["train"].images), 0)
    assert data.classes == ()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".PNG"])
def test_pictures_that_need_no_resize_are_exact(tmp_path, mode, suffix):
    image = scene(0, (12, 9), mode)
    shape = (3 if mode == "RGB" else 1, 9, 12)
    assert (kept(tmp_path, image, suffix, shape) == chw(image)).all()


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (64, 64), (20, 27)])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_short_side_is_resized_and_the_middle_kept(tmp_path, size, suffix):
    result = kept(tmp_path, scene(0, size), suffix, shape=(3, 32, 32))
    with Image.open(tmp_path / f"train/picture{suffix}") as source:
        expected = v2.Compose([v2.CenterCrop(min(size)), v2.Resize(32)])(source)
    assert (result == chw(expected)).all()


def test_any_proportions_fit_any_shape(tmp_path):
    for number, size in enumerate([(300, 1), (1, 300), (1, 1), (7, 8), (50, 20)]):
        save(scene(number, size), tmp_path / f"train/{number}.png")
    write(tmp_path, ["test/x.png"])
    images = opened(tmp_path, shape=(3, 2, 9), validation=0).splits["train"].images
    assert images.shape == (5, 3, 2, 9)
    assert (images.amax((1, 2, 3)) > 0).all()


def test_a_crop_comes_before_the_resize(tmp_path):
    image = scene(0, (100, 60))
    result = kept(tmp_path, image, shape=(3, 8, 8), crop=40)
    middle = image.crop((30, 10, 70, 50)).resize((8, 8), Image.Resampling.BILINEAR)
    assert (result == chw(middle)).all()


def test_a_crop_larger_than_the_picture_changes_nothing(tmp_path):
    image = scene(0, (8, 8))
    assert (kept(tmp_path, image, crop=100) == chw(image)).all()


def transparent(mode):
    """The left half opaque black, the right half transparent."""
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (4, 0, 8, 8))
    if mode != "P":
        return image.convert(mode)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.paste(1, (4, 0, 8, 8))
    return palette


@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [
        ("RGBA", ".png", {}),
        ("LA", ".png", {}),
        ("P", ".png", {"transparency": 1}),
        ("P", ".gif", {"transparency": 1}),
        ("RGBA", ".webp", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pictures_are_laid_over_white(tmp_path, mode, suffix, options, channels):
    result = kept(tmp_path, transparent(mode), suffix, (channels, 8, 8), **options)
    assert (result[:, :, :4] == 0).all()
    assert (result[:, :, 4:] == 255).all()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_of_16_bits_the_upper_8_are_kept(tmp_path, suffix):
    levels = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    assert (kept(tmp_path, Image.fromarray(levels), suffix, (1, 8, 8)) == levels >> 8).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_turned_pictures_are_set_upright(tmp_path, suffix, orientation, turned):
    image = scene(0, (8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == ".webp" else {"quality": 100, "subsampling": 0}
    result = kept(tmp_path, image, suffix, exif=exif, **(options if suffix != ".tif" else {}))
    assert np.abs(result - np.rot90(chw(image), turned, (1, 2))).max() <= 6


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", ".png"), ("P", ".png"), ("P", ".gif"), ("CMYK", ".jpg"), ("L", ".jpg")],
)
def test_other_kinds_of_pixels_become_rgb(tmp_path, mode, suffix):
    image = scene(0, (32, 32)).convert(mode)
    result = kept(tmp_path, image, suffix, (3, 32, 32))
    assert np.abs(result - chw(image.convert("RGB"))).mean() < 8


def test_the_first_picture_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 255)]
    result = kept(tmp_path, frames[0], ".gif", save_all=True, append_images=frames[1:])
    assert (result == 0).all()


def test_a_wrong_suffix_does_not_matter(tmp_path):
    assert (kept(tmp_path, scene(0, (8, 8)), ".jpg", format="PNG") == chw(scene(0, (8, 8)))).all()


def test_pictures_are_found_in_order_at_any_depth(tmp_path):
    names = ["B.PNG", "a/1.png", "a/b/c/2.Png", "a.png", "c d/é.png", "z.png"]
    write(tmp_path / "train", names)
    write(tmp_path, ["test/x.png"])
    for name in ["train/note.txt", "train/png", "train/a/list.csv"]:
        (tmp_path / name).write_text("no picture")
    expected = np.stack([chw(scene(names.index(name), (8, 8))) for name in sorted(names)])
    assert (opened(tmp_path, validation=0).splits["train"].images.numpy() == expected).all()


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    write(tmp_path, many())
    before = opened(tmp_path)
    (tmp_path / "._000.png").write_text("what a Mac leaves behind")
    save(scene(0), tmp_path / ".hidden/x.png")
    after = opened(tmp_path)
    assert content(after) == content(before)
    assert after.classes == ()


def test_links_are_followed_and_circles_are_not(tmp_path):
    write(tmp_path, ["elsewhere/0.png", "elsewhere/1.png", "train/a/x.png", "test/a/x.png"])
    (tmp_path / "train/a/link.png").symlink_to(tmp_path / "elsewhere/0.png")
    (tmp_path / "train/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train/a/circle").symlink_to(tmp_path / "train")
    data = opened(tmp_path, validation=0)
    assert data.splits["train"].labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["train/a/link.png", "train/link", "val", "train/a/.x/../y.png"])
def test_a_link_out_of_the_root_is_refused(tmp_path, name):
    write(tmp_path / "elsewhere", ["0.png", "1.png"])
    write(tmp_path / "root", ["train/a/x.png", "test/a/x.png", "train/a/.x/0.png"])
    target = "elsewhere/0.png" if name.endswith("png") else "elsewhere"
    (tmp_path / "root" / name).symlink_to(tmp_path / target)
    for on_error in ("stop", "skip"):
        with pytest.raises(ValueError, match=r" is a link that leads out of data\.root=.*: put "):
            opened(tmp_path / "root", on_error=on_error)


def test_the_root_itself_may_be_a_link(tmp_path):
    write(tmp_path / "elsewhere", many())
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere")
    assert content(opened(tmp_path / "root")) == content(opened(tmp_path / "elsewhere"))


def test_what_would_start_a_program_is_no_picture(tmp_path):
    """PIL hands EPS to Ghostscript, whatever the file is called."""
    write(tmp_path, ["train/0.png", "test/1.png"])
    (tmp_path / "train/x.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ValueError, match="its format is unknown"):
        opened(tmp_path)


def test_a_picture_of_100_megapixels_is_refused(tmp_path):
    write(tmp_path, ["train/0.png", "test/1.png"])
    (tmp_path / "train/large.png").write_bytes(bad_files()["large.png"])
    with pytest.raises(ValueError, match=r"large\.png cannot be read .*100000000 pixels"):
        opened(tmp_path)


def test_labels_count_the_first_sub_folders(tmp_path):
    write(tmp_path, [*many(20, "cat/"), *many(20, "cat/small/", 20), *many(40, "ant/", 40)])
    data = opened(tmp_path)
    assert data.classes == ("ant", "cat")
    for images, labels in data.splits.values():
        assert labels.dtype == torch.int64
        for image, label in zip(images, labels, strict=True):
            cats = [chw(scene(i, (8, 8))) for i in range(40)]
            assert any((image.numpy() == cat).all() for cat in cats) == (label == 1)


def test_pictures_beside_sub_folders_leave_no_labels(tmp_path):
    write(tmp_path, [*many(40, "cat/"), *many(20, "", 40)])
    data = opened(tmp_path)
    assert data.classes == ()
    assert data.splits["train"].labels.shape[1:] == (0,)


def test_new_pictures_do_not_move_the_others(tmp_path):
    write(tmp_path, many(60, "b/"))
    before = opened(tmp_path)
    write(tmp_path, many(100, "b/") + many(40, "a/", 100))
    after = opened(tmp_path)
    for split in SPLITS:
        assert content(before, split) <= content(after, split)
        assert content(before, split) < content(after, split)


def test_a_larger_validation_moves_no_picture_out_of_test(tmp_path):
    write(tmp_path, many())
    one, other = opened(tmp_path), opened(tmp_path, validation=0.3)
    assert content(one, "test") == content(other, "test")
    assert content(one, "val") < content(other, "val")


def test_the_split_of_a_name_is_the_same_for_ever():
    fractions = {"test": 0.1, "val": 0.2}
    drawn = [image_folder._drawn(f"{i}.png", "train", fractions) for i in range(10_000)]
    assert [i for i in range(40) if drawn[i] == "test"] == [0, 6, 8, 33]
    for split, fraction in {**fractions, "train": 0.7}.items():
        error = (fraction * (1 - fraction) / len(drawn)) ** 0.5
        assert abs(drawn.count(split) / len(drawn) - fraction) < 4 * error


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folders_train_val_and_test_are_the_split(tmp_path, val):
    write(tmp_path, ["train/b/0.png", "train/a/1.png", f"{val}/b/2.png", "test/c/3.png", "x/4.png"])
    data = opened(tmp_path)
    assert data.classes == ("a", "b", "c")
    assert {split: data.splits[split].labels.tolist() for split in SPLITS} == {
        "train": [0, 1],
        "val": [1],
        "test": [2],
    }
    assert (data.splits["val"].images[0].numpy() == chw(scene(2, (8, 8)))).all()


@pytest.mark.parametrize(("validation", "some"), [(0.2, True), (0, False)])
def test_without_val_a_part_of_train_validates(tmp_path, validation, some):
    write(tmp_path, [*many(40, "train/"), *many(5, "test/", 40)])
    data = opened(tmp_path, validation=validation)
    assert bool(len(data.splits["val"].images)) == some
    assert len(content(data, "train", "val")) == 40
    assert len(data.splits["test"].images) == 5


def test_the_second_run_decodes_nothing(tmp_path, monkeypatch):
    write(tmp_path, many())
    first = opened(tmp_path)
    monkeypatch.setattr(image_folder, "picture", pytest.fail)
    again = opened(tmp_path)
    again.setup()
    assert content(again) == content(first)


@pytest.mark.parametrize("change", ["picture", "crop", "name"])
def test_what_changed_is_decoded_anew(tmp_path, change):
    write(tmp_path, ["train/0.bmp", "train/1.bmp", "test/2.bmp"])
    for path in tmp_path.rglob("*.bmp"):  # of the same size and time
        os.utime(path, (0, 0))
    before = opened(tmp_path, validation=0)
    if change == "picture":
        save(scene(9, (8, 8)), tmp_path / "train/0.bmp")
    if change == "name":
        (tmp_path / "train/0.bmp").rename(tmp_path / "train/2.bmp")
    after = opened(tmp_path, validation=0, crop=4 if change == "crop" else None)
    x, y = before.splits["train"].images, after.splits["train"].images
    assert not torch.equal(x, y)
    assert torch.equal(x.flip(0), y) == (change == "name")


def damaged(root):
    write(root, ["train/a/0.png", "train/b/1.png", "train/c/2.png", "test/a/3.png"])
    (root / "train/b/1.png").write_bytes((root / "train/b/1.png").read_bytes()[:60])
    return root


def test_a_damaged_file_is_named_in_the_error(tmp_path):
    message = rf"^{damaged(tmp_path)}/train/b/1\.png cannot be read .*data\.on_error=skip$"
    with pytest.raises(ValueError, match=message) as error:
        opened(tmp_path)
    assert "\n" not in str(error.value)


def test_a_damaged_file_can_be_left_out_with_a_warning(tmp_path):
    for _ in range(2):
        with pytest.warns(
            UserWarning, match=r"left out 1 of 4 files, .*: train/b/1\.png;"
        ) as warned:
            data = opened(damaged(tmp_path), on_error="skip", validation=0)
        assert len(warned) == 1
        images, labels = data.splits["train"]
        expected = [chw(scene(number, (8, 8))) for number in (0, 2)]
        assert (images.numpy() == np.stack(expected)).all()
        assert [data.classes[label] for label in labels] == ["a", "c"]
    with pytest.raises(ValueError, match="cannot be read"):
        opened(tmp_path)


@pytest.mark.parametrize("kind", ["text", "empty", "jpeg", "pipe", "link", "float"])
def test_whatever_is_no_picture_is_named(tmp_path, kind):
    write(tmp_path, ["train/0.png", "test/1.png"])
    path = tmp_path / ("train/x.tif" if kind == "float" else "train/x.jpg")
    if kind in ("text", "empty"):
        path.write_text("no picture" if kind == "text" else "")
    if kind == "jpeg":
        save(scene(0), path)
        path.write_bytes(path.read_bytes()[:2000])
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    if kind == "float":
        save(scene(0, mode="F"), path)
    with pytest.raises(ValueError, match=rf"^{path} cannot be read as a picture \([^/<]*\): "):
        opened(tmp_path)


@pytest.mark.parametrize("limit", [10_000, 15_000])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_decompression_bomb_is_an_error(tmp_path, monkeypatch, limit, suffix):
    write(tmp_path, ["train/0.png", "test/1.png"])
    save(scene(0, (200, 150)), tmp_path / f"train/bomb{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError, match=rf"bomb{suffix} cannot be read .*30000 pixels"):
        opened(tmp_path)


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^data\.root=.*/none: there is no such folder$"):
        opened(tmp_path / "none")


def test_a_folder_without_pictures_is_one_line(tmp_path):
    (tmp_path / "x.txt").touch()
    with pytest.raises(
        FileNotFoundError, match=rf"^data\.root={tmp_path} holds no pictures \(\.jpg"
    ):
        opened(tmp_path)


def test_too_few_pictures_to_split_are_one_line(tmp_path):
    write(tmp_path, ["1.png"])
    with pytest.raises(ValueError, match=r"^of 1 pictures in .* 1 train, 0 validate and 0 test: "):
        opened(tmp_path)


def test_where_the_root_cannot_be_written_the_cache_goes_elsewhere(tmp_path):
    write(tmp_path, many())
    (tmp_path / ".vaelab-cache").touch()
    with pytest.raises(ValueError, match=r"\.vaelab-cache.* set data\.cache=<folder>$"):
        opened(tmp_path)
    opened(tmp_path, cache=str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize(
    "setting",
    [
        {"shape": (2, 8, 8)},
        {"shape": (8, 8)},
        {"crop": -1},
        {"on_error": "ignore"},
        {"validation": 0.95},
        {"test": 0},
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, setting):
    with pytest.raises(ValueError, match=rf"data\.{next(iter(setting))}="):
        ImageFolder(str(tmp_path), **setting)
