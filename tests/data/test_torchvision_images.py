import pickle
import time
from pathlib import Path

import pytest
import torch
from published_sets import (
    write_cifar10,
    write_cifar100,
    write_emnist,
    write_kmnist,
    write_svhn,
    write_usps,
)

from vaelab.data.cifar10 import CIFAR10
from vaelab.data.cifar100 import CIFAR100
from vaelab.data.emnist import EMNIST
from vaelab.data.kmnist import KMNIST
from vaelab.data.svhn import SVHN
from vaelab.data.usps import USPS

SETS = [
    (CIFAR10, write_cifar10),
    (CIFAR100, write_cifar100),
    (SVHN, write_svhn),
    (KMNIST, write_kmnist),
    (EMNIST, write_emnist),
    (USPS, write_usps),
]
all_sets = pytest.mark.parametrize(("kind", "write"), SETS, ids=[kind.__name__ for kind, _ in SETS])
HASHED = [pair for pair in SETS if pair[0] not in (KMNIST, EMNIST)]


def load_set(kind, root, **settings):
    data = kind(str(root), **settings)
    data.prepare_data()
    data.setup()
    return data


@all_sets
def test_images_and_labels_are_those_of_the_published_split(tmp_path, monkeypatch, kind, write):
    train, test = write(tmp_path, monkeypatch)
    data = load_set(kind, tmp_path, validation=4)
    splits = data.splits
    assert (
        torch.cat([splits["train"].images, splits["val"].images]).numpy().tolist() == train.tolist()
    )
    assert splits["test"].images.numpy().tolist() == test.tolist()
    assert len(splits["val"].images) == 4
    assert data.pixels == "levels"
    assert all(split.images.is_contiguous() for split in splits.values())
    labels = splits["train"].labels
    assert labels.dtype == torch.int64
    size = 8 if kind in (CIFAR10, CIFAR100) else 30
    first = 1 if kind is SVHN else 0  # SVHN writes the digit 0 as 10
    expected = [(i % size + first) % 10 for i in range(len(labels))]
    assert labels.tolist() == expected


@all_sets
def test_larger_shape_is_padded_and_another_one_is_refused(tmp_path, monkeypatch, kind, write):
    write(tmp_path, monkeypatch)
    channels, side, _ = kind.native_shape
    data = load_set(kind, tmp_path, validation=4, shape=(channels, side + 4, side + 4))
    images = data.splits["test"].images
    assert images.shape[1:] == (channels, side + 4, side + 4)
    assert images[:, :, :2].sum() == images[..., -2:].sum() == 0
    with pytest.raises(ValueError, match=rf"set data\.shape=\[{channels},{side},{side}\]"):
        kind(str(tmp_path), shape=(channels, side - 1, side - 1))


@all_sets
def test_missing_files_cost_one_line(tmp_path, monkeypatch, kind, write):
    def fail_to_open(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", fail_to_open)
    start = time.monotonic()
    with pytest.raises(FileNotFoundError) as error:
        kind(str(tmp_path / "nothing")).prepare_data()
    message = str(error.value)
    assert time.monotonic() - start < 5
    assert "\n" not in message
    for word in (kind.folder, next(iter(kind(str(tmp_path)).list_files())), "VAELAB_DATA"):
        assert word in message
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(("kind", "write"), HASHED, ids=[kind.__name__ for kind, _ in HASHED])
@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_file_is_named_before_it_is_read(tmp_path, monkeypatch, kind, write, damage):
    write(tmp_path, monkeypatch)
    data = kind(str(tmp_path), validation=4)
    path = Path(tmp_path, data.folder, next(iter(data.list_files())))
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content[:-7] if damage == "truncated" else content)
    monkeypatch.setattr(pickle, "load", pytest.fail)
    with pytest.raises(ValueError, match=f"{path.name} is truncated or altered"):
        data.prepare_data()


def test_altered_pickle_is_not_opened_without_prepare_data_either(tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch)
    path = tmp_path / CIFAR10.folder / "test_batch"
    path.write_bytes(path.read_bytes() + b"x")
    monkeypatch.setattr(pickle, "load", pytest.fail)
    with pytest.raises(ValueError, match="corrupted"):
        CIFAR10(str(tmp_path), validation=4).setup()


def test_compressed_files_are_unpacked_without_a_network(tmp_path, monkeypatch):
    write_kmnist(tmp_path, monkeypatch, suffix=".gz")
    monkeypatch.setattr("urllib.request.urlopen", pytest.fail)
    assert len(load_set(KMNIST, tmp_path, validation=4).splits["train"].images) == 26


@pytest.mark.parametrize(("kind", "write"), [(KMNIST, write_kmnist), (EMNIST, write_emnist)])
def test_truncated_file_without_a_published_hash_is_refused(tmp_path, monkeypatch, kind, write):
    write(tmp_path, monkeypatch)
    data = kind(str(tmp_path), validation=4)
    path = Path(tmp_path, data.folder, next(iter(data.list_files())))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"the files in .* cannot be read .*: delete them"):
        data.setup()


@pytest.mark.parametrize(("split", "classes"), [("balanced", 47), ("letters", 26), ("digits", 10)])
def test_classes_of_emnist_begin_with_0(tmp_path, monkeypatch, split, classes):
    write_emnist(tmp_path, monkeypatch, split)
    data = load_set(EMNIST, tmp_path, split=split)
    assert data.splits["train"].labels.unique().tolist() == list(range(10))
    assert len(data.classes) == classes
    assert len(data.splits["val"].images) == len(data.splits["test"].images) == 10


def test_unknown_split_of_emnist_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.split=upper: choose from balanced, byclass"):
        EMNIST(str(tmp_path), split="upper")


def test_cifar_classes_have_the_names_in_the_files(tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch)
    assert load_set(CIFAR10, tmp_path, validation=4).classes[:2] == ("class 0", "class 1")
