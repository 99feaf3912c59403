import os
import struct
import zlib
from itertools import chain

import numpy as np
import pytest
import torch
from files import make_bad_files
from PIL import Image
from sample_images import make_image, save_image, to_chw
from torchvision.transforms import v2

from vaelab.data import image_folder
from vaelab.data.description import describe_splits
from vaelab.data.image_file import inspect_file
from vaelab.data.image_folder import ImageFolder
from vaelab.runtime.errors import UserError

SPLITS = ("train", "val", "test")


def load_folder(root, **settings):
    data = ImageFolder(str(root), **{"shape": (3, 8, 8), **settings})
    data.prepare_data()
    data.setup()
    return data


def write_images(root, names):
    """Write a different 8x8 image for every name."""
    for number, name in enumerate(names):
        save_image(make_image(number, (8, 8)), root / name)


def number_names(count=60, folder="", first=0):
    return [f"{folder}{number:03d}.png" for number in range(first, first + count)]


def image_set(data, *splits):
    """Return the set of all images of some splits, each as bytes."""
    return {bytes(x.numpy()) for split in splits or SPLITS for x in data.splits[split].images}


def load_one_image(
    root, image, suffix=".png", shape=(3, 8, 8), crop=None, settings=None, **options
):
    """Save one image and return what the data set makes of it, (C, H, W)."""
    save_image(image, root / f"train/image{suffix}", **options)
    write_images(root, ["test/other.png"])
    data = load_folder(root, shape=shape, crop=crop, validation=0, **(settings or {}))
    return data.splits["train"].images[0].numpy().astype(int)


def test_folder_of_images_gives_three_uint8_splits(tmp_path):
    names = number_names()
    write_images(tmp_path, names)
    data = load_folder(tmp_path)
    assert sum(len(split.images) for split in data.splits.values()) == len(names)
    assert data.pixels == "levels"
    assert image_set(data) == {
        bytes(to_chw(make_image(i, (8, 8))).copy().tobytes()) for i in range(len(names))
    }
    assert data.splits["train"].labels.shape == (len(data.splits["train"].images), 0)
    assert data.classes == ()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".PNG"])
def test_images_that_need_no_resize_are_exact(tmp_path, mode, suffix):
    image = make_image(0, (12, 9), mode)
    shape = (3 if mode == "RGB" else 1, 9, 12)
    assert (load_one_image(tmp_path, image, suffix, shape) == to_chw(image)).all()


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (64, 64), (20, 27)])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_short_side_is_resized_and_the_center_kept(tmp_path, size, suffix):
    result = load_one_image(tmp_path, make_image(0, size), suffix, shape=(3, 32, 32))
    with Image.open(tmp_path / f"train/image{suffix}") as source:
        expected = v2.Compose([v2.CenterCrop(min(size)), v2.Resize(32)])(source)
    assert (result == to_chw(expected)).all()


def test_images_of_any_proportions_are_resized_to_the_shape(tmp_path):
    for number, size in enumerate([(300, 1), (1, 300), (1, 1), (7, 8), (50, 20)]):
        save_image(make_image(number, size), tmp_path / f"train/{number}.png")
    write_images(tmp_path, ["test/x.png"])
    images = load_folder(tmp_path, shape=(3, 2, 9), validation=0).splits["train"].images
    assert images.shape == (5, 3, 2, 9)
    assert (images.amax((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("name", ["box", "bilinear", "bicubic", "lanczos"])
def test_filter_of_the_resize_is_chosen_and_cached_apart(tmp_path, name):
    image = make_image(0, (40, 40))
    other = "box" if name != "box" else "lanczos"
    _, result = (load_one_image(tmp_path, image, settings={"resize": x}) for x in (other, name))
    assert (result == to_chw(image.resize((8, 8), Image.Resampling[name.upper()]))).all()


def test_unknown_filter_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data\.resize=sinc: choose from box, bilinear, bicubic"):
        ImageFolder(str(tmp_path), resize="sinc")


def test_crop_comes_before_the_resize(tmp_path):
    image = make_image(0, (100, 60))
    result = load_one_image(tmp_path, image, shape=(3, 8, 8), crop=40)
    middle = image.crop((30, 10, 70, 50)).resize((8, 8), Image.Resampling.BILINEAR)
    assert (result == to_chw(middle)).all()


def test_crop_larger_than_the_image_changes_nothing(tmp_path):
    image = make_image(0, (8, 8))
    assert (load_one_image(tmp_path, image, crop=100) == to_chw(image)).all()


def make_half_transparent(mode):
    """Return an image whose left half is opaque black and whose right half is transparent."""
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
def test_transparent_images_are_put_on_white(tmp_path, mode, suffix, options, channels):
    result = load_one_image(
        tmp_path, make_half_transparent(mode), suffix, (channels, 8, 8), **options
    )
    assert (result[:, :, :4] == 0).all()
    assert (result[:, :, 4:] == 255).all()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_pixels_are_reduced_to_their_upper_8_bits(tmp_path, suffix):
    levels = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    assert (
        load_one_image(tmp_path, Image.fromarray(levels), suffix, (1, 8, 8)) == levels >> 8
    ).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_images_with_an_exif_orientation_are_rotated_upright(tmp_path, suffix, orientation, turned):
    image = make_image(0, (8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == ".webp" else {"quality": 100, "subsampling": 0}
    result = load_one_image(
        tmp_path, image, suffix, exif=exif, **(options if suffix != ".tif" else {})
    )
    assert np.abs(result - np.rot90(to_chw(image), turned, (1, 2))).max() <= 6


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", ".png"), ("P", ".png"), ("P", ".gif"), ("CMYK", ".jpg"), ("L", ".jpg")],
)
def test_other_color_modes_become_rgb(tmp_path, mode, suffix):
    image = make_image(0, (32, 32)).convert(mode)
    result = load_one_image(tmp_path, image, suffix, (3, 32, 32))
    assert np.abs(result - to_chw(image.convert("RGB"))).mean() < 8


PAGES = [Image.new("L", (8, 8), level) for level in (0, 100, 255)]
LOSSLESS = {".gif": {}, ".tif": {}, ".tiff": {}, ".png": {}, ".webp": {"lossless": True}}


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_files_of_several_pages_are_refused_or_read_as_set(tmp_path, suffix):
    options = {"save_all": True, "append_images": PAGES[1:], **LOSSLESS[suffix]}
    with pytest.raises(ValueError, match=rf"image{suffix} .*3 pages: set data\.pages=first, or"):
        load_one_image(tmp_path, PAGES[0], suffix, **options)
    first = load_one_image(tmp_path, PAGES[0], suffix, settings={"pages": "first"}, **options)
    assert (first == 0).all()
    data = load_folder(tmp_path, validation=0, pages="all")
    levels = [x.unique().tolist() for x in data.splits["train"].images]
    assert levels == [[0], [100], [255]]
    assert "1 of 2 examined files have several pages, of which each page is an image" in (
        data.conversions
    )


def test_small_copy_of_a_page_and_preview_of_a_camera_are_no_pages(tmp_path):
    thumbnail = {254: 1}
    PAGES[0].save(tmp_path / "x.tif", save_all=True, append_images=[PAGES[1]], tiffinfo=thumbnail)
    assert inspect_file((tmp_path / "x.tif").read_bytes()).pages == [0]
    PAGES[0].save(tmp_path / "x.mpo", save_all=True, append_images=[PAGES[1]])
    assert inspect_file((tmp_path / "x.mpo").read_bytes()).pages == [0]


def save_sixteen_bit_png(values, path):
    """Write a PNG with 16-bit values (height, width, channels); PIL cannot."""
    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("bits", "used"), [(8, 8), (9, 10), (12, 12), (13, 14), (16, 16)])
def test_depth_of_16_bit_files_is_that_of_the_largest_value(tmp_path, channels, bits, used):
    values = np.random.default_rng(0).integers(0, 2**bits, (8, 8, channels))
    values[0, 0, 0] = 2**bits - 1
    if channels == 4:
        values[..., 3] = 65535  # alpha is opaque
    save_sixteen_bit_png(values, tmp_path / "train/x.png")
    write_images(tmp_path, ["test/other.png"])
    data = load_folder(tmp_path, shape=(min(channels, 3), 8, 8), validation=0)
    x = data.splits["train"].images[0].numpy()
    assert (x == values[..., :3].transpose(2, 0, 1) >> (used - 8)).all()
    assert data.conversions[0] == (
        f"1 of 2 examined files have 16 bits, of which {used} are used (largest value "
        f"{2**bits - 1}) and 8 kept"
    )


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_12_bit_colors_of_tiff_are_read(tmp_path, order):
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(0, 4096, (8, 8, 3)).astype(order)
    (tmp_path / "train").mkdir()
    tifffile.imwrite(tmp_path / "train/x.tif", values, photometric="rgb", byteorder=order[0])
    write_images(tmp_path, ["test/other.png"])
    x = load_folder(tmp_path, validation=0).splits["train"].images[0].numpy()
    assert (x == values.transpose(2, 0, 1) >> 4).all()


def test_depth_can_be_set_and_larger_values_are_refused(tmp_path):
    image = Image.fromarray(np.full((8, 8), 4095, np.uint16))
    settings = {"depth": 16}
    assert (load_one_image(tmp_path, image, shape=(1, 8, 8), settings=settings) == 15).all()
    with pytest.raises(ValueError, match=r"4095, which has more than 10 bits: set data\.depth=12"):
        load_one_image(tmp_path, image, shape=(1, 8, 8), settings={"depth": 10})


def test_depth_is_one_for_all_files_and_found_in_the_brightest(tmp_path):
    for number, level in enumerate((100, 4000, 300)):
        image = Image.fromarray(np.full((8, 8), level, np.uint16))
        save_image(image, tmp_path / f"train/{number}.png")
    write_images(tmp_path, ["test/other.png"])
    data = load_folder(tmp_path, shape=(1, 8, 8), validation=0)
    assert data.splits["train"].images.amax((1, 2, 3)).tolist() == [100 >> 4, 4000 >> 4, 300 >> 4]


def make_shape(number):
    """Return a white square on transparency."""
    image = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (number, 0, number + 2, 4))
    return image


@pytest.mark.parametrize(
    ("background", "level"), [("white", 255), ("black", 0), ("grey", 128), (40, 40)]
)
def test_transparent_files_are_laid_over_the_background(tmp_path, background, level):
    settings = {"background": background}
    x = load_one_image(tmp_path, make_shape(1), settings=settings)
    assert (x[:, 0, 0] == level).all()
    assert (x[:, 0, 1] == 255).all()


def test_four_channels_keep_alpha_and_change_of_a_setting_is_decoded_again(tmp_path):
    x = load_one_image(tmp_path, make_shape(1), shape=(4, 8, 8))
    assert (x == to_chw(make_shape(1))).all()
    over_white = load_one_image(tmp_path, make_shape(1))
    over_black = load_one_image(tmp_path, make_shape(1), settings={"background": "black"})
    assert over_white.min() == 255 > over_black.min() == 0


def test_white_shapes_on_transparency_are_refused_before_the_training(tmp_path):
    for number in range(4):
        save_image(make_shape(number), tmp_path / f"train/{number}.png")
    write_images(tmp_path, ["test/other.png"])
    with pytest.raises(UserError, match=r"all 4 training images are equal: .*background=black"):
        describe_splits(load_folder(tmp_path, validation=0))
    description = describe_splits(load_folder(tmp_path, validation=0, background="black"))
    assert "4 of 5 examined files are transparent, laid over gray level 0" in description.line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 7}, r"data\.depth=7: it must be 8 to 16 bits"),
        ({"background": "pink"}, r"data\.background=pink: choose white, black"),
        ({"background": 256}, r"data\.background=256"),
        ({"pages": "last"}, r"data\.pages=last: choose from null, first, all"),
        ({"shape": (2, 8, 8)}, r"or \[4,height,width\] to keep the alpha channel"),
    ],
)
def test_settings_of_files_are_checked(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        ImageFolder(str(tmp_path), **settings)


def test_what_is_converted_is_said(tmp_path):
    for number in range(3):
        save_image(make_image(number, (20, 10)), tmp_path / f"train/{number}.png")
    save_image(make_image(3, (8, 8), "L"), tmp_path / "test/3.png")
    data = load_folder(tmp_path, shape=(1, 8, 8), validation=0)
    assert data.conversions == [
        "3 of 4 examined files are in color, made grayscale",
        "central part resized from 8x8 to 20x10 (width x height) to 8x8",
    ]
    data = load_folder(tmp_path, shape=(3, 8, 8), validation=0)
    assert data.conversions[0] == "1 of 4 examined files are grayscale, repeated in 3 channels"


def test_wrong_suffix_does_not_matter(tmp_path):
    assert (
        load_one_image(tmp_path, make_image(0, (8, 8)), ".jpg", format="PNG")
        == to_chw(make_image(0, (8, 8)))
    ).all()


def test_images_are_found_in_order_at_any_depth(tmp_path):
    names = ["B.PNG", "a/1.png", "a/b/c/2.Png", "a.png", "c d/é.png", "z.png"]
    write_images(tmp_path / "train", names)
    write_images(tmp_path, ["test/x.png"])
    for name in ["train/note.txt", "train/png", "train/a/list.csv"]:
        (tmp_path / name).write_text("not an image")
    expected = np.stack([to_chw(make_image(names.index(name), (8, 8))) for name in sorted(names)])
    assert (load_folder(tmp_path, validation=0).splits["train"].images.numpy() == expected).all()


def test_hidden_files_and_folders_are_ignored(tmp_path):
    write_images(tmp_path, number_names())
    before = load_folder(tmp_path)
    (tmp_path / "._000.png").write_text("a metadata file of macOS")
    save_image(make_image(0), tmp_path / ".hidden/x.png")
    after = load_folder(tmp_path)
    assert image_set(after) == image_set(before)
    assert after.classes == ()


def test_links_are_followed_and_cycles_are_not(tmp_path):
    write_images(tmp_path, ["linked/0.png", "linked/1.png", "train/a/x.png", "test/a/x.png"])
    (tmp_path / "train/a/link.png").symlink_to(tmp_path / "linked/0.png")
    (tmp_path / "train/b").symlink_to(tmp_path / "linked")
    (tmp_path / "train/a/cycle").symlink_to(tmp_path / "train")
    data = load_folder(tmp_path, validation=0)
    assert data.splits["train"].labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["train/a/link.png", "train/link", "val", "train/a/.x/../y.png"])
def test_link_that_leads_out_of_the_root_is_refused(tmp_path, name):
    write_images(tmp_path / "outside", ["0.png", "1.png"])
    write_images(tmp_path / "root", ["train/a/x.png", "test/a/x.png", "train/a/.x/0.png"])
    target = "outside/0.png" if name.endswith("png") else "outside"
    (tmp_path / "root" / name).symlink_to(tmp_path / target)
    for on_error in ("stop", "skip"):
        with pytest.raises(
            ValueError, match=r" is a symbolic link that leads out of .*: replace it "
        ):
            load_folder(tmp_path / "root", on_error=on_error)


def test_root_itself_can_be_a_link(tmp_path):
    write_images(tmp_path / "outside", number_names())
    (tmp_path / "root").symlink_to(tmp_path / "outside")
    assert image_set(load_folder(tmp_path / "root")) == image_set(load_folder(tmp_path / "outside"))


def test_eps_files_are_refused(tmp_path):
    """PIL passes EPS files to Ghostscript, whatever their suffix is."""
    write_images(tmp_path, ["train/0.png", "test/1.png"])
    (tmp_path / "train/x.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ValueError, match="its format is unknown"):
        load_folder(tmp_path)


def test_image_of_100_megapixels_is_refused(tmp_path):
    write_images(tmp_path, ["train/0.png", "test/1.png"])
    (tmp_path / "train/large.png").write_bytes(make_bad_files()["large.png"])
    with pytest.raises(ValueError, match=r"large\.png cannot be read .*100000000 pixels"):
        load_folder(tmp_path)


def test_labels_are_indices_of_the_first_sub_folders(tmp_path):
    write_images(
        tmp_path,
        [
            *number_names(20, "cat/"),
            *number_names(20, "cat/small/", 20),
            *number_names(40, "ant/", 40),
        ],
    )
    data = load_folder(tmp_path)
    assert data.classes == ("ant", "cat")
    for images, labels in data.splits.values():
        assert labels.dtype == torch.int64
        for image, label in zip(images, labels, strict=True):
            cats = [to_chw(make_image(i, (8, 8))) for i in range(40)]
            assert any((image.numpy() == cat).all() for cat in cats) == (label == 1)


def test_subset_of_a_folder_contains_all_classes(tmp_path):
    names = [number_names(100, f"{name}/", 100 * i) for i, name in enumerate("abc")]
    write_images(tmp_path, chain.from_iterable(names))
    data = load_folder(tmp_path, test=0.5)
    labels = data.splits["test"].labels
    assert torch.equal(labels, labels.sort().values)
    found = torch.cat([y for _, y, _ in data.batches("test", 20)])
    assert len(found) == 20
    assert set(found.tolist()) == {0, 1, 2}


def test_images_beside_sub_folders_leave_no_labels(tmp_path):
    write_images(tmp_path, [*number_names(40, "cat/"), *number_names(20, "", 40)])
    data = load_folder(tmp_path)
    assert data.classes == ()
    assert data.splits["train"].labels.shape[1:] == (0,)


def test_new_images_do_not_move_the_others(tmp_path):
    write_images(tmp_path, number_names(60, "b/"))
    before = load_folder(tmp_path)
    write_images(tmp_path, number_names(100, "b/") + number_names(40, "a/", 100))
    after = load_folder(tmp_path)
    for split in SPLITS:
        assert image_set(before, split) <= image_set(after, split)
        assert image_set(before, split) < image_set(after, split)


def test_larger_validation_moves_no_image_out_of_test(tmp_path):
    write_images(tmp_path, number_names())
    first, second = load_folder(tmp_path), load_folder(tmp_path, validation=0.3)
    assert image_set(first, "test") == image_set(second, "test")
    assert image_set(first, "val") < image_set(second, "val")


def test_split_of_a_name_never_changes():
    fractions = {"test": 0.1, "val": 0.2}
    splits = [image_folder._assign_split(f"{i}.png", "train", fractions) for i in range(10_000)]
    assert [i for i in range(40) if splits[i] == "test"] == [0, 6, 8, 33]
    for split, fraction in {**fractions, "train": 0.7}.items():
        error = (fraction * (1 - fraction) / len(splits)) ** 0.5
        assert abs(splits.count(split) / len(splits) - fraction) < 4 * error


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folders_train_val_and_test_define_the_split(tmp_path, val):
    write_images(
        tmp_path, ["train/b/0.png", "train/a/1.png", f"{val}/b/2.png", "test/c/3.png", "x/4.png"]
    )
    data = load_folder(tmp_path)
    assert data.classes == ("a", "b", "c")
    assert {split: data.splits[split].labels.tolist() for split in SPLITS} == {
        "train": [0, 1],
        "val": [1],
        "test": [2],
    }
    assert (data.splits["val"].images[0].numpy() == to_chw(make_image(2, (8, 8)))).all()


@pytest.mark.parametrize(("validation", "has_val"), [(0.2, True), (0, False)])
def test_part_of_train_is_used_if_there_is_no_val_folder(tmp_path, validation, has_val):
    write_images(tmp_path, [*number_names(40, "train/"), *number_names(5, "test/", 40)])
    data = load_folder(tmp_path, validation=validation)
    assert bool(len(data.splits["val"].images)) == has_val
    assert len(image_set(data, "train", "val")) == 40
    assert len(data.splits["test"].images) == 5


def test_second_run_decodes_nothing(tmp_path, monkeypatch):
    write_images(tmp_path, number_names())
    first = load_folder(tmp_path)
    monkeypatch.setattr(image_folder, "read_image", pytest.fail)
    second = load_folder(tmp_path)
    second.setup()
    assert image_set(second) == image_set(first)


@pytest.mark.parametrize("change", ["image", "crop", "name"])
def test_changes_are_decoded_again(tmp_path, change):
    write_images(tmp_path, ["train/0.bmp", "train/1.bmp", "test/2.bmp"])
    for path in tmp_path.rglob("*.bmp"):  # files of equal size and time
        os.utime(path, (0, 0))
    before = load_folder(tmp_path, validation=0)
    if change == "image":
        save_image(make_image(9, (8, 8)), tmp_path / "train/0.bmp")
    if change == "name":
        (tmp_path / "train/0.bmp").rename(tmp_path / "train/2.bmp")
    after = load_folder(tmp_path, validation=0, crop=4 if change == "crop" else None)
    x, y = before.splits["train"].images, after.splits["train"].images
    assert not torch.equal(x, y)
    assert torch.equal(x.flip(0), y) == (change == "name")


def write_damaged_image(root):
    write_images(root, ["train/a/0.png", "train/b/1.png", "train/c/2.png", "test/a/3.png"])
    (root / "train/b/1.png").write_bytes((root / "train/b/1.png").read_bytes()[:60])
    return root


def test_damaged_file_is_named_in_the_error(tmp_path):
    message = (
        rf"^{write_damaged_image(tmp_path)}/train/b/1\.png cannot be read .*data\.on_error=skip$"
    )
    with pytest.raises(ValueError, match=message) as error:
        load_folder(tmp_path)
    assert "\n" not in str(error.value)


def test_damaged_file_can_be_skipped_with_a_warning(tmp_path):
    for _ in range(2):
        with pytest.warns(
            UserWarning, match=r"skipped 1 of 4 files because .*: train/b/1\.png;"
        ) as records:
            data = load_folder(write_damaged_image(tmp_path), on_error="skip", validation=0)
        assert len(records) == 1
        images, labels = data.splits["train"]
        expected = [to_chw(make_image(number, (8, 8))) for number in (0, 2)]
        assert (images.numpy() == np.stack(expected)).all()
        assert [data.classes[label] for label in labels] == ["a", "c"]
    with pytest.raises(ValueError, match="cannot be read"):
        load_folder(tmp_path)


@pytest.mark.parametrize("kind", ["text", "empty", "jpeg", "pipe", "link", "float"])
def test_file_that_is_not_an_image_is_named(tmp_path, kind):
    write_images(tmp_path, ["train/0.png", "test/1.png"])
    path = tmp_path / ("train/x.tif" if kind == "float" else "train/x.jpg")
    if kind in ("text", "empty"):
        path.write_text("not an image" if kind == "text" else "")
    if kind == "jpeg":
        save_image(make_image(0), path)
        path.write_bytes(path.read_bytes()[:2000])
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    if kind == "float":
        save_image(make_image(0, mode="F"), path)
    with pytest.raises(ValueError, match=rf"^{path} cannot be read as an image \([^/<]*\): "):
        load_folder(tmp_path)


@pytest.mark.parametrize("limit", [10_000, 15_000])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_decompression_bomb_is_refused(tmp_path, monkeypatch, limit, suffix):
    write_images(tmp_path, ["train/0.png", "test/1.png"])
    save_image(make_image(0, (200, 150)), tmp_path / f"train/bomb{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError, match=rf"bomb{suffix} cannot be read .*30000 pixels"):
        load_folder(tmp_path)


def test_missing_folder_is_reported_in_one_line(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"^data\.root=.*/none: there is no such folder; set data\.root"
    ):
        load_folder(tmp_path / "none")


def test_folder_without_images_is_reported_in_one_line(tmp_path):
    (tmp_path / "x.txt").touch()
    with pytest.raises(FileNotFoundError, match=rf"^data\.root={tmp_path} has no images \(\.jpg"):
        load_folder(tmp_path)


def test_too_few_images_to_split_are_reported_in_one_line(tmp_path):
    write_images(tmp_path, ["1.png"])
    with pytest.raises(ValueError, match=r" has 1 images, .* 1 are for training, .* 0 for testing"):
        load_folder(tmp_path)


def test_cache_can_be_in_another_folder_than_an_unwritable_root(tmp_path):
    write_images(tmp_path, number_names())
    (tmp_path / ".vaelab-cache").touch()
    with pytest.raises(ValueError, match=r"\.vaelab-cache.* set data\.cache=<folder> "):
        load_folder(tmp_path)
    load_folder(tmp_path, cache=str(tmp_path / "other"))
    assert (tmp_path / "other").is_dir()


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
def test_invalid_arguments_are_refused(tmp_path, setting):
    with pytest.raises(ValueError, match=rf"data\.{next(iter(setting))}="):
        ImageFolder(str(tmp_path), **setting)
