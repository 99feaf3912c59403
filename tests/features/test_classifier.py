"""Tests of the classifiers whose weights come with the package: digits, clothes and objects."""

import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch.nn.functional import interpolate, pad

from vaelab.data.celeba import CelebA
from vaelab.data.fashion_mnist import FashionMNIST
from vaelab.data.image_folder import ImageFolder
from vaelab.data.mnist import MNIST
from vaelab.data.mnist5k import MNIST5k
from vaelab.data.sprites import Sprites
from vaelab.features.classifier import CLASSIFIERS
from vaelab.features.named import WEIGHTS_FOLDER, load_features

NAMES = tuple(CLASSIFIERS)
REAL = os.environ["VAELAB_REAL_DATA"]


@pytest.fixture(scope="module")
def digits():
    return load_features("digits")


def compute_accuracy(net, data):
    data.prepare_data()
    data.setup()
    is_correct = [net.logits(data.prepare(x)).argmax(1) == y for x, y, _ in data.batches("test")]
    return torch.cat(is_correct).float().mean().item()


@pytest.mark.parametrize("binarize", ["none", "dynamic"])
def test_embedded_digits_are_classified_grayscale_and_binarized(digits, binarize):
    """Most of these digits are among the 60,000 training images; the test below uses others."""
    assert compute_accuracy(digits, MNIST5k(binarize=binarize)) > 0.985


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="VAELAB_DATA is not set, but the real data sets are needed")
@pytest.mark.parametrize(
    ("name", "source", "min_grayscale", "min_binarized"),
    [("digits", MNIST, 0.993, 0.985), ("clothes", FashionMNIST, 0.91, 0.85)],
)
def test_accuracy_on_test_images_is_the_recorded_one(name, source, min_grayscale, min_binarized):
    with safe_open(WEIGHTS_FOLDER / f"{name}.safetensors", "pt") as file:
        recipe = file.metadata()
    for binarize, minimum, key in (
        ("none", min_grayscale, "accuracy_grey"),
        ("dynamic", min_binarized, "accuracy_bits"),
    ):
        accuracy = compute_accuracy(load_features(name), source(REAL, binarize=binarize))
        assert accuracy == pytest.approx(float(recipe[key]), abs=0.001)
        assert accuracy > minimum


@pytest.mark.parametrize("name", NAMES)
def test_weights_file_records_how_it_was_trained(name):
    with safe_open(WEIGHTS_FOLDER / f"{name}.safetensors", "pt") as file:
        recipe = file.metadata()
    assert recipe["command"] == f"python scripts/features.py {name}"
    other = "accuracy_color" if name == "objects" else "accuracy_bits"
    assert {"seed", "epochs", "date", "torch", "seconds", other} < recipe.keys()
    assert float(recipe["accuracy_grey"]) > (0.8 if name == "objects" else 0.9)


@pytest.mark.parametrize(("name", "limit"), [("clothes", 4e5), ("digits", 4e5), ("objects", 1e6)])
def test_weights_files_are_small(name, limit):
    assert (WEIGHTS_FOLDER / f"{name}.safetensors").stat().st_size < limit


def test_logits_are_computed_from_64_features(digits):
    x = torch.rand(5, 1, 28, 28)
    features = digits(x)
    assert features.shape == (5, digits.num_features)
    torch.testing.assert_close(digits.logits(x), digits.head(features))
    assert not features.requires_grad


def test_features_do_not_depend_on_other_images_of_the_batch(digits):
    x = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(digits(x)[:1], digits(x[:1]))


def test_border_of_padded_images_is_removed(digits):
    x = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(digits(pad(x, (2, 2, 3, 3))), digits(x))


def test_other_sizes_are_resized_and_colors_averaged(digits):
    data = MNIST5k(binarize="none")
    data.setup()
    x, y = data.prepare(data.splits["test"].images[:200]), data.splits["test"].labels[:200]
    larger = interpolate(x, (57, 57), mode="bilinear").expand(-1, 3, -1, -1)
    assert (digits.logits(larger).argmax(1) == y).float().mean() > 0.97


@pytest.fixture(scope="module")
def objects():
    return load_features("objects")


def test_features_of_objects_are_128_float32_numbers(objects):
    x = torch.rand(5, 3, 32, 32)
    features = objects(x)
    assert features.shape == (5, objects.num_features) == (5, 128)
    assert features.dtype == torch.float32
    torch.testing.assert_close(objects.logits(x), objects.head(features))
    torch.testing.assert_close(features[:1], objects(x[:1]))
    assert not features.requires_grad


def test_objects_are_resized_and_grayscale_is_repeated(objects):
    x = torch.rand(3, 1, 32, 32)
    torch.testing.assert_close(objects(x), objects(x.expand(-1, 3, -1, -1)))
    for size in ((64, 64), (96, 64)):
        larger = interpolate(x, size, mode="nearest-exact")
        smaller = interpolate(larger, (32, 32), mode="bilinear", antialias=True)
        torch.testing.assert_close(objects(larger), objects(smaller))


def test_colors_change_the_features_of_objects_but_not_those_of_digits(objects, digits):
    x = torch.rand(3, 3, 32, 32)
    swapped = x[:, [2, 1, 0]]
    assert not torch.allclose(objects(x), objects(swapped), atol=1e-2)
    torch.testing.assert_close(digits(x), digits(swapped))


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(REAL, "cifar10_jpg").is_dir(), reason="VAELAB_DATA has no folder cifar10_jpg"
)
def test_accuracy_on_test_images_of_objects_is_the_recorded_one(objects, tmp_path):
    with safe_open(WEIGHTS_FOLDER / "objects.safetensors", "pt") as file:
        recipe = file.metadata()
    data = ImageFolder(f"{REAL}/cifar10_jpg", (3, 32, 32), cache=str(tmp_path))
    assert compute_accuracy(objects, data) == pytest.approx(
        float(recipe["accuracy_color"]), abs=0.001
    )


def test_every_data_set_names_its_feature_network():
    names = [data.features for data in (MNIST5k, MNIST, FashionMNIST)]
    assert names == ["digits", "digits", "clothes"]
    assert {data.features for data in (CelebA, ImageFolder, Sprites)} == {"objects"}


def test_unknown_name_is_refused_with_the_valid_ones():
    with pytest.raises(
        ValueError, match="features=resnet: choose from clothes, digits, objects, inception"
    ):
        load_features("resnet")


def test_weights_files_are_part_of_the_package():
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    assert "features/*.safetensors" in project["tool"]["setuptools"]["package-data"]["vaelab"]
    assert any(package.startswith("safetensors") for package in project["project"]["dependencies"])


def test_script_trains_a_network_that_can_be_loaded(command, idx, monkeypatch, tmp_path):
    monkeypatch.setenv("VAELAB_DATA", idx.root)
    for i in range(20):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        path = Path(idx.root, "cifar10_jpg", ("train", "test")[i % 2], f"{i // 2}", "0.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    for name, kind in CLASSIFIERS.items():
        arguments = (name, "--epochs=1", f"--out={tmp_path}")
        status, output = command("scripts/features.py", *arguments)
        assert status == 0, output
        kind.load(tmp_path / f"{name}.safetensors")
        assert ("accuracy_color: " if name == "objects" else "accuracy_bits: ") in output
