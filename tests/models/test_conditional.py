"""A model that knows the labels: what y changes, and what it may be."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from vaelab.runs.build import build_from_config
from vaelab.runs.run import Run

SMALL = ("model=conditional", "model.hidden=[16]", "latent_dim=3")


@pytest.fixture
def vae(config):
    def make(*words, shape=(1, 8, 8)):
        torch.manual_seed(0)
        return build_from_config(config(*SMALL, *words).module.vae, shape=list(shape))

    return make


def test_another_label_is_another_model(vae):
    vae, x = vae(), torch.rand(4, 1, 8, 8)
    one, two = (vae.condition_on(torch.full((4,), label)) for label in (1, 2))
    z = torch.randn(4, 3)
    assert not torch.allclose(one.decode(z).mean, two.decode(z).mean)
    assert not torch.allclose(one.encode(x).mean, two.encode(x).mean)
    torch.testing.assert_close(
        one.decode(z).mean, vae.condition_on(torch.ones(4).long()).decode(z).mean
    )


def test_each_image_has_its_own_label_in_every_draw(vae):
    vae, labels = vae(), torch.tensor([3, 7])
    z = torch.randn(5, 2, 3)
    together = vae.condition_on(labels).decode(z).mean
    for image, label in enumerate(labels):
        alone = vae.condition_on(label.reshape(1)).decode(z[:, image]).mean
        torch.testing.assert_close(together[:, image], alone)


def test_without_labels_it_says_so(vae):
    with pytest.raises(ValueError, match=r"use vae\.given\(labels\)"):
        vae().decode(torch.randn(2, 3))


def test_the_view_shares_its_weights_and_leaves_the_model_as_it_was(vae):
    vae = vae()
    view = vae.condition_on(torch.zeros(4).long())
    assert all(a is b for a, b in zip(vae.parameters(), view.parameters(), strict=True))
    assert vae.known is None


def test_a_learned_prior_starts_at_the_normal_one_and_depends_on_the_label(vae):
    vae = vae("model.learned_prior=true")
    model = vae.condition_on(torch.tensor([0, 1]))
    z = torch.randn(2, 3)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(model.latents().log_prob(z), normal)
    with torch.no_grad():
        vae.prior.parameters_of.weight.normal_()
    mean = vae.prior.parameters_of.weight[:3].T + vae.prior.parameters_of.bias[:3]
    torch.testing.assert_close(model.latents().mean, mean[:2])


def test_with_attributes_y_is_what_is_true_of_the_image(vae):
    vae = vae("model.labels=4")
    y = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1]])
    assert torch.equal(vae.condition_on(y).known, y.float())


def test_a_table_has_labels_as_more_columns(vae):
    vae = vae("loss=mse", shape=(5,)).condition_on(torch.arange(3))
    assert vae.decode(vae.encode(torch.randn(3, 5)).rsample()).mean.shape == (3, 5)


def test_the_labels_of_the_data_are_checked_before_the_first_step(train, tmp_path):
    with pytest.raises(ValueError, match=r"model\.labels=5, but the data's labels are 10 classes"):
        train(*SMALL, "model.labels=5", folder="five")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((40, 1, 8, 8)))
    words = ("data=arrays", f"data.path={tmp_path}/x.npz", "data.batch_size=4")
    with pytest.raises(ValueError, match="but the data's labels are 0 attributes"):
        train(*SMALL, *words, folder="none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_test": np.array([0, 10])}, "the data's labels are 11 classes"),
        ({"y_val": np.array([0, -1])}, "classes count from 0, but the data's labels begin at -1"),
        ({"y_train": np.array([0.0, 1.0])}, r"classes are integers, .* torch\.float64"),
    ],
)
def test_the_labels_of_every_split_are_checked(train, tmp_path, change, message):
    parts = {f"x_{name}": np.zeros((2, 1, 8, 8)) for name in ("train", "val", "test")}
    parts |= {f"y_{name}": np.array([0, 1]) for name in ("train", "val", "test")} | change
    np.savez(tmp_path / "x.npz", **parts)
    with pytest.raises(ValueError, match=message):
        train(*SMALL, "data=arrays", f"data.path={tmp_path}/x.npz", folder="wrong")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model.labels=0", r"model\.labels=0"),
        ("prior=vamp", "pseudo-inputs have no labels"),
        ("prior=mixture model.learned_prior=true", "set prior=normal"),
        ("model.learned_prior=true objective=wae_mmd", "no KL that would train the prior"),
    ],
)
def test_what_it_cannot_be_is_refused(config, words, message):
    with pytest.raises(ValueError, match=message):
        Run.build(config(*SMALL, *words.split()))


@pytest.mark.parametrize("words", [(), ("model.learned_prior=true", "objective=info_mmd")])
def test_it_trains_and_draws_its_pictures(train, words):
    numbers = train(*SMALL, *words)
    assert math.isfinite(numbers["nll"])
    assert numbers["measure"] == "probability given labels"  # so no table ranks it with others
    with Image.open(numbers["folder"] / "figures" / "samples.png") as picture:
        assert picture.size[0] > 100


def test_knowing_the_label_gives_a_better_bound(train):
    words = ("model.hidden=[32]", "latent_dim=2", "trainer.max_epochs=4", "optimizer.lr=3e-3")
    words += ("trainer.limit_train_batches=1.0", "trainer.limit_val_batches=1.0")
    alone, told = (
        train(f"model={model}", *words, folder=model) for model in ("mlp", "conditional")
    )
    assert told["nll"] < alone["nll"] - 5
