"""Test the training of a prior on a finished run: frozen and trained weights, and refusals."""

import math
from pathlib import Path

import pytest
import torch
from conftest import slow

from vaelab.runs.run import RunParts

VQ = ["objective=vq", "model.hidden=[8]", "latent_dim=4", "posterior.dim=2", "posterior.codes=8"]
PIXELCNN = ["prior=pixelcnn", "prior.channels=4", "prior.layers=2"]
PRIOR = [*VQ[1:], "posterior=vq", *PIXELCNN, "objective=prior"]
LONGER = ["trainer.max_epochs=4", "trainer.limit_train_batches=10"]


def load_state_dict(folder, name="best"):
    path = Path(folder) / "checkpoints" / f"{name}.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def test_training_changes_the_prior_alone_and_raises_the_bound(train):
    first = train(*VQ, *LONGER, folder="first")
    second = train(*PRIOR, *LONGER, f"start={first['folder']}", folder="second")
    before = load_state_dict(first["folder"])
    for name in ("best", "last"):
        after = load_state_dict(second["folder"], name)
        frozen = [key for key in after if not key.startswith("vae.prior.")]
        assert any("codebook" in key for key in frozen)
        assert sorted(frozen) == sorted(before)
        assert all(torch.equal(before[key], after[key]) for key in frozen)
    assert second["reconstruction"] == pytest.approx(first["reconstruction"], rel=1e-6)
    assert second["kl"] < first["kl"]
    assert first["kl"] == pytest.approx(2 * math.log(8), rel=1e-5)
    assert second["elbo"] == pytest.approx(-second["reconstruction"] - second["kl"])
    assert second["bits_per_dim"] < first["bits_per_dim"]


@pytest.mark.parametrize(
    "quantizer",
    [
        "posterior=fsq posterior.levels=[3,4]",
        *slow("posterior=residual_vq posterior.dim=2 posterior.depth=2 posterior.codes=4"),
    ],
)
def test_transformer_is_trained_on_the_codes_of_any_quantizer(train, quantizer):
    words = ["model.hidden=[8]", "latent_dim=4", *quantizer.split()]
    first = train("objective=vq", *words, folder="first")
    transformer = ["prior=transformer", "prior.channels=8", "prior.layers=1", "prior.heads=2"]
    start = f"start={first['folder']}"
    second = train(*words, *transformer, "objective=prior", start, *LONGER, folder="second")
    before, after = load_state_dict(first["folder"]), load_state_dict(second["folder"])
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert second["kl"] < first["kl"]


@pytest.mark.parametrize("callback", ["default", "default,ema"])
def test_prior_of_a_continuous_model_is_trained(train, callback):
    words = ["model.hidden=[8]", "latent_dim=3"]
    first = train(*words, "data.batch_size=16", folder="first")
    second = train(
        *words,
        "prior=mixture",
        "objective=prior",
        f"callbacks=[{callback}]",
        f"start={first['folder']}",
        folder="second",
    )
    before, after = load_state_dict(first["folder"]), load_state_dict(second["folder"])
    assert all(torch.equal(before[key], after[key]) for key in before)
    fresh = RunParts.build(RunParts.open(second["folder"]).cfg).vae.prior.logits
    assert not torch.equal(after["vae.prior.logits"], fresh)


def test_start_works_with_any_objective(train):
    first = train("model.hidden=[8]", folder="first")
    words = ["model.hidden=[8]", "optimizer.lr=1e-30", f"start={first['folder']}"]
    second = train(*words, folder="second")
    assert second["elbo"] == pytest.approx(first["elbo"])


@pytest.mark.parametrize("words", [PRIOR, ["objective=prior", "prior=vamp"]])
def test_only_the_prior_has_a_gradient(config, words):
    """The gradient of a VampPrior passes through the encoder, but not to its parameters."""
    run = RunParts.build(config(*words, "model.hidden=[8]"))
    before = {name: value.clone() for name, value in run.vae.named_buffers()}
    run.module.train()
    terms = run.module.objective(run.vae, torch.rand(6, 1, 28, 28).round(), 0)
    assert torch.equal(terms["loss"], terms["kl"])
    terms["loss"].mean().backward()
    for name, weight in run.vae.named_parameters():
        assert (weight.grad is not None) == name.startswith("prior."), name
    assert all(torch.equal(value, before[name]) for name, value in run.vae.named_buffers())


def test_missing_start_is_refused(train):
    with pytest.raises(ValueError, match=r"name its folder, as in start=runs/"):
        train(*PRIOR)


def test_prior_without_parameters_is_refused(config):
    with pytest.raises(ValueError, match="no trainable parameters: set prior=pixelcnn"):
        RunParts.build(config("objective=prior"))


def test_posterior_without_density_is_refused(config):
    with pytest.raises(ValueError, match="posterior with a density"):
        RunParts.build(config("objective=prior", "posterior=deterministic", "prior=mixture"))


def test_missing_run_or_checkpoint_raises(train, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"start=nowhere: there is no such run folder"):
        train(*PRIOR, "start=nowhere")
    with pytest.raises(FileNotFoundError, match=r"best\.ckpt: there is no such checkpoint"):
        train(*PRIOR, f"start={tmp_path}", folder="other")


@pytest.mark.parametrize("other", ["model.hidden=[9]", "posterior.codes=9", "model=conv"])
def test_start_from_another_architecture_names_the_difference(train, other):
    first = train(*VQ, folder="first")
    words = [word for word in PRIOR if other != "model=conv" or "hidden" not in word]
    with pytest.raises(ValueError, match=r"has another architecture, see vae\.\w+"):
        train(*words, other, f"start={first['folder']}", folder="second")


def test_damaged_checkpoint_raises(train):
    first = train(*VQ, folder="first")
    (first["folder"] / "checkpoints" / "best.ckpt").write_bytes(b"no")
    with pytest.raises(ValueError, match="truncated, or not a checkpoint"):
        train(*PRIOR, f"start={first['folder']}", folder="second")
