"""The nets for digits and clothes that come with the package."""

import os
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn.functional import interpolate, pad

from vaelab.data.celeba import CelebA
from vaelab.data.fashion_mnist import FashionMNIST
from vaelab.data.mnist import MNIST
from vaelab.data.mnist5k import MNIST5k
from vaelab.features.classifier import Classifier
from vaelab.features.named import FOLDER, load_features

NETS = ("clothes", "digits")
REAL = os.environ["VAELAB_REAL_DATA"]


@pytest.fixture(scope="module")
def digits():
    return load_features("digits")


def accuracy(net, data):
    data.prepare_data()
    data.setup()
    right = [net.logits(data.prepare(x)).argmax(1) == y for x, y in data.batches("test")]
    return torch.cat(right).float().mean().item()


@pytest.mark.parametrize("binarize", ["none", "dynamic"])
def test_it_names_the_embedded_digits_grey_and_as_bits(digits, binarize):
    """Most of these are among the 60,000 that it was trained on: the test below is the honest one,
    where the real test digits are at hand."""
    assert accuracy(digits, MNIST5k(binarize=binarize)) > 0.985


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="VAELAB_DATA names no folder of the real data sets")
@pytest.mark.parametrize(
    ("name", "source", "grey", "bits"),
    [("digits", MNIST, 0.993, 0.985), ("clothes", FashionMNIST, 0.91, 0.85)],
)
def test_it_names_images_that_it_was_not_trained_on_as_often_as_its_file_says(
    name, source, grey, bits
):
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        recipe = file.metadata()
    for binarize, least, said in (("none", grey, "grey"), ("dynamic", bits, "bits")):
        found = accuracy(load_features(name), source(REAL, binarize=binarize))
        assert found == pytest.approx(float(recipe[f"accuracy_{said}"]), abs=0.001)
        assert found > least


@pytest.mark.parametrize("name", NETS)
def test_its_file_says_how_it_was_trained(name):
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        recipe = file.metadata()
    assert recipe["command"] == f"python scripts/features.py {name}"
    assert {"seed", "epochs", "date", "torch", "seconds", "accuracy_bits"} < recipe.keys()
    assert float(recipe["accuracy_grey"]) > 0.9


def test_the_files_together_are_small():
    assert sum((FOLDER / f"{name}.safetensors").stat().st_size for name in NETS) < 1e6


def test_it_gives_64_features_of_which_the_logits_are_made(digits):
    x = torch.rand(5, 1, 28, 28)
    features = digits(x)
    assert features.shape == (5, digits.num_features)
    torch.testing.assert_close(digits.logits(x), digits.head(features))
    assert not features.requires_grad


def test_a_picture_does_not_depend_on_the_others_of_its_batch(digits):
    x = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(digits(x)[:1], digits(x[:1]))


def test_the_border_of_padded_pictures_is_taken_off(digits):
    x = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(digits(pad(x, (2, 2, 3, 3))), digits(x))


def test_other_sizes_are_resized_and_colours_are_made_grey(digits):
    data = MNIST5k(binarize="none")
    data.setup()
    x, y = data.prepare(data.splits["test"].images[:200]), data.splits["test"].labels[:200]
    larger = interpolate(x, (57, 57), mode="bilinear").expand(-1, 3, -1, -1)
    assert (digits.logits(larger).argmax(1) == y).float().mean() > 0.97


def test_every_data_set_names_its_net():
    found = [data.features for data in (MNIST5k, MNIST, FashionMNIST, CelebA)]
    assert found == ["digits", "digits", "clothes", "inception"]


def test_another_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="features=resnet: choose from clothes, digits, inception"):
        load_features("resnet")


def test_the_files_are_among_those_that_are_installed():
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    assert "features/*.safetensors" in project["tool"]["setuptools"]["package-data"]["vaelab"]
    assert any(each.startswith("safetensors") for each in project["project"]["dependencies"])


def test_its_recipe_trains_a_net_of_the_same_kind(command, idx, monkeypatch, tmp_path):
    monkeypatch.setenv("VAELAB_DATA", idx.root)
    for name in NETS:
        words = (name, "--epochs=1", f"--out={tmp_path}")
        status, output = command("scripts/features.py", *words)
        assert status == 0, output
        Classifier.load(tmp_path / f"{name}.safetensors")
        assert "accuracy_bits: " in output
