import csv
import io
import os
import stat
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from sample_images import make_image, to_chw
from torchvision.transforms import v2

from vaelab.data import cache, celeba
from vaelab.data.celeba import CelebA

ATTRIBUTES = ("5_o_Clock_Shadow", "Bald", "Male", "Young")
SPLIT = [0, 1, 0, 2, 0, 2, 0, 0, 1]
NAMES = [f"{i:06d}.jpg" for i in range(1, len(SPLIT) + 1)]
ROWS = np.random.default_rng(0).choice([-1, 1], (len(SPLIT), len(ATTRIBUTES)))
IMG = "img_align_celeba"


def encode_face(number, format="JPEG"):
    file = io.BytesIO()
    make_image(number).save(file, format, quality=95)
    return file.getvalue()


def write_images(folder):
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(encode_face(number))


def write_zip(folder, prefix=f"{IMG}/"):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{IMG}.zip", "w") as file:
        if prefix:
            file.writestr(prefix, "")
        for number, name in enumerate(NAMES):
            file.writestr(prefix + name, encode_face(number))


def write_txt_tables(folder, order=slice(None)):
    rows = list(zip(NAMES, ROWS, SPLIT, strict=True))[order]
    partition = [f"{name} {split}\n" for name, _, split in rows]
    (folder / "list_eval_partition.txt").write_text("".join(partition))
    attributes = [f"{len(rows)}\n", " ".join(ATTRIBUTES) + " \n"]
    attributes += [f"{name} " + " ".join(f"{x:2d}" for x in row) + "\n" for name, row, _ in rows]
    (folder / "list_attr_celeba.txt").write_text("".join(attributes))


def write_csv_tables(folder):
    for name, header, rows in (
        ("list_eval_partition.csv", ["partition"], [[split] for split in SPLIT]),
        ("list_attr_celeba.csv", ATTRIBUTES, ROWS.tolist()),
    ):
        with open(folder / name, "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["image_id", *header])
            table.writerows([image, *row] for image, row in zip(NAMES, rows, strict=True))


def write_celeba(folder):
    write_images(folder / IMG)
    write_txt_tables(folder)


def write_zip_layout(folder):
    write_zip(folder)
    write_txt_tables(folder)


def write_kaggle_layout(folder):
    write_images(folder / IMG / IMG)
    write_csv_tables(folder)


def load_celeba(root, **settings):
    data = CelebA(str(root), **settings)
    data.prepare_data()
    data.setup()
    return data


def are_equal(one, other):
    return one.attributes == other.attributes and all(
        torch.equal(x, y)
        for split in ("train", "val", "test")
        for x, y in zip(one.splits[split], other.splits[split], strict=True)
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    root = tmp_path_factory.mktemp("reference")
    write_celeba(root)
    return load_celeba(root)


@pytest.mark.parametrize("layout", [write_celeba, write_zip_layout, write_kaggle_layout])
@pytest.mark.parametrize("folder", ["", "celeba", "CelebA"])
def test_all_layouts_give_the_same_tensors(tmp_path, reference, layout, folder):
    layout(tmp_path / folder)
    assert are_equal(load_celeba(tmp_path), reference)


def test_partition_file_defines_the_split(reference):
    sizes = {name: len(split.images) for name, split in reference.splits.items()}
    assert sizes == {"train": 5, "val": 2, "test": 2}
    assert reference.pixels == "levels"
    assert reference.attributes == ATTRIBUTES


def test_labels_are_the_attributes_as_0_and_1(reference):
    for split, number in (("train", 0), ("val", 1), ("test", 2)):
        labels = reference.splits[split].labels
        assert labels.dtype == torch.int64
        assert labels.tolist() == ((ROWS[np.equal(SPLIT, number)] + 1) // 2).tolist()


def test_images_are_center_crops_resized(reference):
    for split, number in (("train", 0), ("val", 1), ("test", 2)):
        for image, i in zip(
            reference.splits[split].images, np.flatnonzero(np.equal(SPLIT, number)), strict=True
        ):
            image_file = Image.open(io.BytesIO(encode_face(i)))
            expected = v2.Compose([v2.CenterCrop(140), v2.Resize(64)])(image_file)
            assert (image.numpy() == to_chw(expected)).all()


@pytest.mark.parametrize(
    ("crop", "shape", "box"),
    [
        (140, (3, 140, 140), (19, 39, 159, 179)),
        (100, (3, 100, 60), (59, 59, 119, 159)),
        (None, (3, 218, 178), (0, 0, 178, 218)),
        (None, (3, 178, 178), (0, 20, 178, 198)),
    ],
)
def test_images_that_need_no_resize_are_exact(tmp_path, crop, shape, box):
    write_celeba(tmp_path)
    (tmp_path / IMG / NAMES[0]).write_bytes(encode_face(0, "PNG"))
    images = load_celeba(tmp_path, crop=crop, shape=shape).splits["train"].images
    assert (images[0].numpy() == to_chw(make_image(0).crop(box))).all()


def test_grayscale_images_have_one_channel(tmp_path, reference):
    write_zip_layout(tmp_path)
    grayscale = load_celeba(tmp_path, shape=(1, 64, 64)).splits["train"].images.float()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    color = reference.splits["train"].images.float()
    assert (grayscale - (color * weights).sum(1, keepdim=True)).abs().max() < 4


def test_attributes_are_joined_by_name(tmp_path, reference):
    write_celeba(tmp_path)
    write_txt_tables(tmp_path, order=slice(None, None, -1))
    assert are_equal(load_celeba(tmp_path), reference)


def test_second_run_decodes_nothing(tmp_path, reference, monkeypatch):
    write_zip_layout(tmp_path)
    load_celeba(tmp_path, cache=str(tmp_path / "other"))
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(celeba, "read_image", pytest.fail)
    again = load_celeba(tmp_path, cache=str(tmp_path / "other"))
    again.setup()
    assert are_equal(again, reference)


@pytest.mark.parametrize("layout", [write_celeba, write_zip_layout])
def test_changed_images_are_decoded_again(tmp_path, reference, layout):
    layout(tmp_path)
    load_celeba(tmp_path)
    if layout is write_celeba:
        (tmp_path / IMG / NAMES[0]).write_bytes(encode_face(100))
    else:
        with zipfile.ZipFile(tmp_path / f"{IMG}.zip", "w") as file:
            for number, name in enumerate(NAMES):
                file.writestr(name, encode_face(number or 100))
    changed = load_celeba(tmp_path).splits["train"].images
    same = (changed == reference.splits["train"].images).flatten(1).all(1)
    assert same.tolist() == [False, True, True, True, True]


def test_images_are_decoded_again_with_another_crop(tmp_path, reference):
    write_zip_layout(tmp_path)
    load_celeba(tmp_path, crop=100)
    assert are_equal(load_celeba(tmp_path), reference)


@pytest.mark.parametrize("layout", [write_celeba, write_zip_layout])
def test_changed_partition_moves_the_images(tmp_path, layout):
    layout(tmp_path)
    if layout is write_celeba:  # files of equal size and time, which differ only in their names
        for number, name in enumerate(NAMES):
            (tmp_path / IMG / name).write_bytes(encode_face(number, "BMP"))
            os.utime(tmp_path / IMG / name, (0, 0))
    before = load_celeba(tmp_path)
    file = tmp_path / "list_eval_partition.txt"
    moved = file.read_text().replace(f"{NAMES[0]} 0", f"{NAMES[0]} 2")
    file.write_text(moved.replace(f"{NAMES[3]} 2", f"{NAMES[3]} 0"))
    after = load_celeba(tmp_path)
    assert torch.equal(after.splits["test"].images[0], before.splits["train"].images[0])
    assert torch.equal(after.splits["train"].images[1], before.splits["test"].images[0])


def test_forked_process_opens_the_zip_again(tmp_path, monkeypatch):
    write_zip_layout(tmp_path)
    source = CelebA(str(tmp_path))._faces.source
    assert source.read(NAMES[0]) == encode_face(0)
    opened_before = source.opened
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert source.read(NAMES[1]) == encode_face(1)
    assert source.opened[1] is not opened_before[1]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_several_processes_read_the_zip(tmp_path, reference, monkeypatch):
    monkeypatch.setattr(cache, "count_usable_cores", lambda: 2)
    settings = {"shape": (3, 256, 256), "crop": None}  # few images in a chunk
    write_zip_layout(tmp_path / "zip")
    write_celeba(tmp_path / "folder")
    one, other = (
        load_celeba(tmp_path / "zip", **settings),
        load_celeba(tmp_path / "folder", **settings),
    )
    assert are_equal(one, other)


@pytest.mark.parametrize("prefix", ["../../outside/", "/etc/", "a/../../b/", "..\\\\", "C:/"])
def test_zip_member_that_leads_out_of_the_folder_is_refused(tmp_path, prefix):
    root = tmp_path / "root"
    write_zip(root, prefix=prefix)
    write_txt_tables(root)
    with pytest.raises(
        ValueError,
        match=r"^\S+zip has the member .*, which leads out of its folder: download it again$",
    ):
        load_celeba(root)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_zip_with_a_symbolic_link_is_refused(tmp_path):
    write_zip(tmp_path)
    write_txt_tables(tmp_path)
    link = zipfile.ZipInfo("img_align_celeba/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "a") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="leads out of its folder"):
        load_celeba(tmp_path)


def test_too_large_zip_member_is_not_decompressed(tmp_path, monkeypatch):
    write_zip(tmp_path)
    write_txt_tables(tmp_path)
    monkeypatch.setattr("vaelab.data.image_file.MAX_FILE_BYTES", 1000)
    with pytest.raises(ValueError, match=r"cannot be read as an image .* at most 1000 are allowed"):
        load_celeba(tmp_path)


@pytest.mark.parametrize("piece", ["img_align_celeba", "list_eval_partition.txt", "one"])
def test_link_that_leads_out_of_the_root_is_refused(tmp_path, piece):
    write_celeba(tmp_path / "root")
    path = tmp_path / "root" / piece
    if piece == "one":
        path = next((tmp_path / "root/img_align_celeba").iterdir())
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match=rf"^{path} is a symbolic link that leads out of "):
        load_celeba(tmp_path / "root")


def test_image_that_is_listed_twice_is_refused(tmp_path):
    write_celeba(tmp_path)
    path = tmp_path / "list_eval_partition.txt"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="lists an image twice"):
        load_celeba(tmp_path)


def test_partition_names_outside_the_folder_are_not_found(tmp_path):
    write_celeba(tmp_path / "root")
    (tmp_path / "root/secret.jpg").write_bytes(encode_face(0))
    with open(tmp_path / "root/list_eval_partition.txt", "a") as file:
        file.write("../secret.jpg 0\n")
    with pytest.raises(FileNotFoundError, match=r"lists 1 images .* the first of them \.\./secret"):
        load_celeba(tmp_path / "root")


def test_error_of_an_empty_root_says_which_files_to_put_where(tmp_path):
    message = (
        rf"^the CelebA folder {tmp_path}/celeba lacks img_align_celeba\.zip \(or .*\), "
        r"list_eval_partition\.txt \(or \.csv\), list_attr_celeba\.txt \(or \.csv\): "
        r"put the missing files there, .*VAELAB_DATA"
    )
    with pytest.raises(FileNotFoundError, match=message):
        load_celeba(tmp_path)


@pytest.mark.parametrize("piece", [f"{IMG}.zip", "list_eval_partition.txt", "list_attr_celeba.txt"])
def test_error_lists_only_the_missing_files(tmp_path, piece):
    write_zip_layout(tmp_path)
    (tmp_path / piece).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"folder {tmp_path} lacks {piece} \([^,]*: put the"
    ):
        load_celeba(tmp_path)


@pytest.mark.parametrize("layout", [write_celeba, write_zip_layout])
def test_missing_images_are_counted_and_the_first_is_named(tmp_path, layout):
    layout(tmp_path)
    with open(tmp_path / "list_eval_partition.txt", "a") as file:
        file.write("900000.jpg 0\n800000.jpg 1\n")
    with pytest.raises(FileNotFoundError, match=rf"2 images that .*{IMG}.* first of them 900000"):
        load_celeba(tmp_path)


def test_missing_attributes_are_counted_and_the_first_is_named(tmp_path):
    write_celeba(tmp_path)
    file = tmp_path / "list_attr_celeba.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:-2]))
    with pytest.raises(
        FileNotFoundError, match=rf"2 images that .*attr.* first of them {NAMES[-2]}"
    ):
        load_celeba(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("list_eval_partition.txt", "<html>Quota exceeded</html>"),
        ("list_eval_partition.txt", ""),
        ("list_eval_partition.txt", "000001.jpg 0\n000002.jpg"),
        ("list_eval_partition.txt", "000001.jpg 3"),
        ("list_attr_celeba.txt", "1\nBald Male\n000001.jpg 1 x"),
        ("list_attr_celeba.txt", "2\nBald Male\n000001.jpg 1 -1\n000002.jpg 1"),
        ("list_attr_celeba.txt", "\n".join(["Bald Male", *(f"{name} 1" for name in NAMES)])),
        (f"{IMG}.zip", "<html>Quota exceeded</html>"),
    ],
)
def test_damaged_file_is_named_in_one_line(tmp_path, file, text):
    write_zip_layout(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=rf"{file}.*: download it again$") as error:
        load_celeba(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [b"", b"not an image", encode_face(0)[:3000]])
def test_damaged_image_is_named_in_one_line(tmp_path, damage):
    write_celeba(tmp_path)
    (tmp_path / IMG / NAMES[3]).write_bytes(damage)
    with pytest.raises(ValueError, match=rf"^{NAMES[3]} cannot be read .*{IMG} again$") as error:
        load_celeba(tmp_path)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("setting", [{"shape": (4, 64, 64)}, {"shape": (64, 64)}, {"crop": 0}])
def test_invalid_arguments_are_refused(tmp_path, setting):
    with pytest.raises(ValueError, match=rf"^data\.{next(iter(setting))}="):
        CelebA(str(tmp_path), **setting)
