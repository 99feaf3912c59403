"""The conditional VAE: the effect of the labels y, and which labels are valid."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config

SMALL = ("model=conditional", "model.hidden=[16]", "latent_dim=3")


@pytest.fixture
def vae(config):
    def make(*words, shape=(1, 8, 8)):
        torch.manual_seed(0)
        return build_from_config(config(*SMALL, *words).module.vae, shape=list(shape))

    return make


def test_label_changes_encoder_and_decoder(vae):
    vae, x = vae(), torch.rand(4, 1, 8, 8)
    first, second = (vae.condition_on(torch.full((4,), label)) for label in (1, 2))
    z = torch.randn(4, 3)
    assert not torch.allclose(first.decode(z).mean, second.decode(z).mean)
    assert not torch.allclose(first.encode(x).mean, second.encode(x).mean)
    torch.testing.assert_close(
        first.decode(z).mean, vae.condition_on(torch.ones(4).long()).decode(z).mean
    )


def test_labels_are_aligned_with_images_for_several_samples(vae):
    vae, labels = vae(), torch.tensor([3, 7])
    z = torch.randn(5, 2, 3)
    means = vae.condition_on(labels).decode(z).mean
    for image, label in enumerate(labels):
        mean = vae.condition_on(label.reshape(1)).decode(z[:, image]).mean
        torch.testing.assert_close(means[:, image], mean)


def test_decoding_without_labels_raises_an_error(vae):
    with pytest.raises(ValueError, match=r"use vae\.condition_on\(labels\)"):
        vae().decode(torch.randn(2, 3))


def test_conditioned_view_shares_weights_and_leaves_the_model_unchanged(vae):
    vae = vae()
    view = vae.condition_on(torch.zeros(4).long())
    assert all(a is b for a, b in zip(vae.parameters(), view.parameters(), strict=True))
    assert vae.condition is None


def test_learned_prior_is_standard_normal_at_first_and_depends_on_the_label(vae):
    vae = vae("model.learned_prior=true")
    model = vae.condition_on(torch.tensor([0, 1]))
    z = torch.randn(2, 3)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(model.latents().log_prob(z), normal)
    with torch.no_grad():
        vae.prior.parameters_of.weight.normal_()
    mean = vae.prior.parameters_of.weight[:3].T + vae.prior.parameters_of.bias[:3]
    torch.testing.assert_close(model.latents().mean, mean[:2])


def test_attributes_are_used_as_they_are(vae):
    vae = vae("model.labels=4")
    y = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1]])
    assert torch.equal(vae.condition_on(y).condition, y.float())


def test_tables_get_labels_as_additional_columns(vae):
    vae = vae("loss=mse", shape=(5,)).condition_on(torch.arange(3))
    assert vae.decode(vae.encode(torch.randn(3, 5)).rsample()).mean.shape == (3, 5)


def test_number_of_labels_is_checked_before_the_first_step(train, tmp_path):
    with pytest.raises(ValueError, match=r"model\.labels=5, .* set model\.labels=10"):
        train(*SMALL, "model.labels=5", folder="five")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((40, 1, 8, 8)))
    words = ("data=arrays", f"data.path={tmp_path}/x.npz", "data.batch_size=4")
    with pytest.raises(ValueError, match="needs labels, but the data have none: add them"):
        train(*SMALL, *words, folder="none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_test": np.array([0, 10])}, "the 3 labels of the data are 0, 1, 10: renumber"),
        ({"y_val": np.array([0, -1])}, "classes must count from 0, .* are -1, 0, 1: renumber"),
        ({"y_train": np.array([0.0, 1.0])}, r"classes must be integers, .* torch\.float64"),
    ],
)
def test_labels_of_every_split_are_checked(train, tmp_path, change, message):
    x = np.random.default_rng(0).random((2, 1, 8, 8))
    parts = {f"x_{name}": x for name in ("train", "val", "test")}
    parts |= {f"y_{name}": np.array([0, 1]) for name in ("train", "val", "test")} | change
    np.savez(tmp_path / "x.npz", **parts)
    with pytest.raises(ValueError, match=message):
        train(*SMALL, "data=arrays", f"data.path={tmp_path}/x.npz", folder="wrong")


@pytest.mark.parametrize(
    ("y", "labels", "message"),
    [
        ([1, 2, 3], 3, r"the 3 labels of the data are 1, 2, 3: renumber .* model\.labels=3"),
        ([10, 20, 30], 3, r"are 10, 20, 30: renumber .* or set model\.labels=31"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 4, r"labels from 0 to 7: set model\.labels=8"),
        ([[0], [1], [2]], 3, r"shape \[3, 1\], which is one attribute: .* y\[:, 0\]"),
        ([[0, 1], [1, 1]], 3, r"the data have 2 attributes: set model\.labels=2"),
        (np.zeros((3, 0)), 3, "the data have none"),
    ],
)
def test_message_about_labels_says_what_to_type(config, y, labels, message):
    cfg = config("model=conditional", f"model.labels={labels}", "model.hidden=[4]")
    vae = build_from_config(cfg.module.vae, shape=[1, 8, 8])
    with pytest.raises(ValueError, match=message):
        vae.check_labels(torch.as_tensor(y))


@pytest.mark.parametrize("y", [[0, 1, 2], [2, 0], [0]])
def test_classes_from_0_are_accepted_even_if_some_are_missing(config, y):
    cfg = config("model=conditional", "model.labels=3", "model.hidden=[4]")
    build_from_config(cfg.module.vae, shape=[1, 8, 8]).check_labels(torch.tensor(y))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model.labels=0", r"model\.labels=0"),
        ("prior=vamp", "pseudo-inputs have no labels"),
        ("prior=mixture model.learned_prior=true", "set prior=normal"),
        ("model.learned_prior=true objective=wae_mmd", "no KL that would train the prior"),
    ],
)
def test_invalid_combinations_are_refused(config, words, message):
    with pytest.raises(ValueError, match=message):
        RunParts.build(config(*SMALL, *words.split()))


@pytest.mark.parametrize("words", [(), ("model.learned_prior=true", "objective=info_mmd")])
def test_training_writes_metrics_and_figures(train, words):
    numbers = train(*SMALL, *words)
    assert math.isfinite(numbers["nll"])
    # a separate measure, because conditional and unconditional models must not be ranked together
    assert numbers["measure"] == "probability given labels"
    with Image.open(numbers["folder"] / "figures" / "samples.png") as image:
        assert image.size[0] > 100


@pytest.mark.slow
def test_labels_improve_the_bound(train):
    words = ("model.hidden=[32]", "latent_dim=2", "trainer.max_epochs=4", "optimizer.lr=3e-3")
    words += ("trainer.limit_train_batches=1.0", "trainer.limit_val_batches=1.0")
    unconditional, conditional = (
        train(f"model={model}", *words, folder=model) for model in ("mlp", "conditional")
    )
    assert conditional["nll"] < unconditional["nll"] - 5
