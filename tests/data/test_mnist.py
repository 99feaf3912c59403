import os
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from vaelab.data.fashion_mnist import FashionMNIST
from vaelab.data.mnist import MNIST

SOURCES = [MNIST, FashionMNIST]


@pytest.mark.parametrize("kind", SOURCES)
def test_existing_files_are_read_and_split(kind, idx):
    data = kind(idx.root, validation=10)
    data.prepare_data()
    data.setup()
    images, labels = idx.train
    sizes = {name: len(split.images) for name, split in data.splits.items()}
    assert sizes == {"train": 50, "val": 10, "test": 20}
    assert data.splits["val"].images.dtype == torch.uint8
    assert torch.equal(data.splits["val"].images[:, 0], images[50:])
    assert torch.equal(data.splits["train"].labels, labels[:50])


def test_validation_0_trains_on_all_images(idx):
    data = MNIST(idx.root, validation=0)
    data.setup()
    assert len(data.splits["train"].images) == 60
    assert not data.has_validation


def test_larger_shape_is_padded_with_black(idx):
    data = MNIST(idx.root, shape=(1, 32, 32), validation=10)
    data.setup()
    images = data.splits["test"].images
    assert images.shape == (20, 1, 32, 32)
    assert torch.equal(images[:, 0, 2:30, 2:30], idx.test[0])
    assert images.sum() == idx.test[0].sum()


@pytest.mark.parametrize("shape", [(1, 29, 29), (3, 28, 28), (1, 20, 20), (784,)])
def test_shape_that_cannot_be_reached_by_padding_is_refused(shape, tmp_path):
    with pytest.raises(ValueError, match=r"as in data\.shape=\[1,32,32\]"):
        MNIST(str(tmp_path), shape=shape)


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_file_is_named(idx, damage):
    path = Path(idx.root, "MNIST", "raw", "train-images-idx3-ubyte")
    content = bytearray(path.read_bytes())
    if damage == "altered":
        content[500] ^= 1
    path.write_bytes(content[:-7] if damage == "truncated" else content)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is truncated or altered"):
        MNIST(idx.root).prepare_data()


def test_error_of_a_failed_download_says_which_files_to_put_where(tmp_path, monkeypatch):
    def fail_to_download(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fail_to_download)
    monkeypatch.setattr("torchvision.datasets.mnist.check_integrity", lambda *_: False)
    with pytest.raises(FileNotFoundError) as error:
        MNIST(str(tmp_path / "nothing")).prepare_data()
    message = str(error.value)
    assert "\n" not in message
    for word in ("MNIST/raw", "t10k-labels-idx1-ubyte", "VAELAB_DATA"):
        assert word in message


def test_validation_that_leaves_no_training_images_is_refused(idx):
    with pytest.raises(ValueError, match=r"data\.validation=60 leaves none of the 60 images"):
        MNIST(idx.root, validation=60).setup()


REAL = os.environ.get("VAELAB_REAL_DATA", "")
TEST_SHA256 = {
    MNIST: "e57c29358f8feb9d94da931970e5d4412a2ac9422f0a8515278b558a6d213cf7",
    FashionMNIST: "98c656837e4fef38294a86c585c72175d89c351ea5538ed52c63055d70ff5fe3",
}


@pytest.mark.skipif(not REAL, reason="VAELAB_DATA is not set, but the real MNIST files are needed")
@pytest.mark.parametrize("kind", SOURCES)
def test_binarized_test_images_have_the_published_hash(kind):
    data = kind(str(ROOT / REAL), binarize="dynamic")
    data.prepare_data()
    data.setup()
    assert data.bits_sha256["test"] == TEST_SHA256[kind]
    assert [len(data.splits[name].images) for name in ("train", "val")] == [50_000, 10_000]


@pytest.mark.skipif(not REAL, reason="VAELAB_DATA is not set, but the real MNIST files are needed")
def test_one_bernoulli_per_pixel_has_the_published_log_likelihood():
    from vaelab.likelihoods.bernoulli import Bernoulli

    data = MNIST(str(ROOT / REAL), validation=0)
    data.setup()
    train, test = (data.prepare(data.splits[name].images) for name in ("train", "test"))
    likelihood = Bernoulli((1, 28, 28))
    p = likelihood(likelihood.initialize(train))
    assert -p.log_prob(train).double().mean().item() == pytest.approx(206.19, abs=0.005)
    assert -p.log_prob(test).double().mean().item() == pytest.approx(205.97, abs=0.005)
