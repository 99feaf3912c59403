"""Test that statistics of a batch receive enough images, and count the images they stand for."""

import math

import pytest
import torch
from conftest import options
from tiny import MLP, TINY

from vaelab.data.base import Split, TrainingBatches
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import UserError

PAIRED = ("beta_tc", "dip", "factor", "info_mmd", "swae", "wae_mmd")


def indices(images, size, world_size=1, epoch=0):
    split = Split(torch.zeros(images, 1), torch.zeros(images, 0))
    parts = [TrainingBatches(split, size, 0, rank, world_size) for rank in range(world_size)]
    assert len({len(part) for part in parts}) == 1
    return [
        torch.cat([part.indices(epoch, number) for part in parts])
        for number in range(len(parts[0]))
    ]


@pytest.mark.parametrize(
    ("images", "size", "world_size", "sizes"),
    [
        (9, 4, 1, [4, 5]),
        (8, 4, 1, [4, 4]),
        (10, 4, 1, [4, 4, 2]),
        (5, 2, 1, [2, 3]),
        (3, 1, 1, [1, 1, 1]),
        (1, 4, 1, [1]),
        (10, 4, 2, [4, 6]),
        (12, 4, 2, [4, 4, 4]),
        (4, 2, 2, [2, 2]),
    ],
)
def test_single_last_image_joins_the_batch_before(images, size, world_size, sizes):
    batches = indices(images, size, world_size)
    assert [len(batch) for batch in batches] == sizes
    assert sorted(torch.cat(batches).tolist()) == [*range(images)]


@pytest.mark.parametrize(("images", "size"), [(8, 4), (10, 4), (5, 7), (64, 10)])
def test_order_is_unchanged_where_no_batch_is_too_small(images, size):
    from vaelab.runtime.seeding import Stream, seeded_generator

    order = torch.randperm(images, generator=seeded_generator(Stream.ORDER, 0, 3))
    batches = indices(images, size, epoch=3)
    assert all(map(torch.equal, batches, order.split(size)))


def test_only_statistics_of_a_batch_need_two_images(part):
    needs = {name: part(f"objective={name}").min_images for name in options("objective")}
    assert {name for name, images in needs.items() if images == 2} == {*PAIRED}
    assert {*needs.values()} == {1, 2}


@pytest.mark.parametrize("option", PAIRED)
def test_batches_of_one_image_are_refused_before_the_first_step(train, option, tmp_path):
    with pytest.raises(
        UserError, match="needs at least 2, but there is a batch of 1: set a larger"
    ):
        train(f"objective={option}", *TINY, "data.batch_size=1")
    assert not (tmp_path / "run" / "checkpoints").exists()


def arrays(tmp_path, train, val, test):
    import numpy as np

    x = np.random.default_rng(0).random((train + val + test, 1, 6, 6)).astype("float32")
    split = ["train"] * train + ["val"] * val + ["test"] * test
    parts = {f"x_{name}": x[[each == name for each in split]] for name in ("train", "val", "test")}
    np.savez(tmp_path / "x.npz", **parts)
    return ("data=arrays", f"data.path={tmp_path}/x.npz", "data.shape=[1,6,6]", *TINY)


@pytest.mark.parametrize("option", PAIRED)
def test_last_batch_of_one_image_trains_and_is_said_once(train, option, tmp_path, capfd):
    words = arrays(tmp_path, train=9, val=129, test=3)
    whole = ("trainer.limit_train_batches=null", "trainer.limit_val_batches=null")
    numbers = train(f"objective={option}", *words, *whole, "data.batch_size=4")
    assert capfd.readouterr().out.count("the last batch of an epoch has 5 images") == 1
    assert numbers["steps"] == 2
    assert math.isfinite(numbers["best"])


@pytest.mark.parametrize("option", PAIRED)
def test_single_validation_image_is_refused(train, option, tmp_path):
    words = arrays(tmp_path, train=9, val=1, test=3)
    with pytest.raises(UserError, match="needs at least 2, but there is a batch of 1"):
        train(f"objective={option}", *words)


@pytest.mark.parametrize("option", PAIRED)
def test_data_loader_of_a_user_with_a_single_last_image_is_refused(config, option):
    from pytorch_lightning import Trainer
    from torch.utils.data import DataLoader

    from vaelab.module import VAEModule

    run = RunParts.build(config(f"objective={option}", *TINY))
    module = VAEModule(run.vae, run.module.objective)
    loader = DataLoader(torch.rand(5, 1, 28, 28).round(), batch_size=4)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.raises(UserError, match="drop_last=True"):
        trainer.fit(module, loader, loader)


def test_validation_terms_of_a_small_last_batch_do_not_count(train, tmp_path):
    """129 images in batches of 128 and 1: the mean of MMD^2 is that of the first batch."""
    words = (*arrays(tmp_path, 9, 129, 3), "objective=info_mmd", "trainer.limit_val_batches=null")
    with_last = train(*words, folder="with")["best"]
    assert train(*words[:-1], "trainer.limit_val_batches=1", folder="without")["best"] == with_last


# ---- q(z) of beta_tc


@pytest.mark.parametrize("estimator", ["stratified", "weighted", "full"])
def test_information_of_validation_images_is_at_most_the_logarithm_of_their_number(
    config, estimator
):
    """Narrow posteriors that distinguish all images reach the limit, and do not exceed it."""
    words = ("objective=beta_tc", f"objective.estimator={estimator}", *MLP, "latent_dim=10")
    run = RunParts.build(config(*words))
    with torch.no_grad():
        run.vae.encoder.layers[-1].weight.mul_(300)
        run.vae.encoder.layers[-1].bias[10:] -= 8  # narrow
    objective = run.module.objective.eval()
    objective.dataset_size, objective.evaluated_images = 40_000, 500
    terms = objective(run.vae, torch.rand(128, 1, 28, 28).round(), 0)
    limit = math.log(500 if estimator == "stratified" else 128)
    assert terms["mutual_information"].mean().item() == pytest.approx(limit, abs=1e-3)
    exact = objective(run.vae, torch.rand(2, 1, 28, 28).round(), 0)
    assert exact["mutual_information"].max() <= math.log(500) + 1e-4


def test_weighted_and_full_estimator_log_the_same_nats(config):
    """The factor 1/N of the published weights would add 9 ln 500 = 56 to the total correlation."""
    logged = []
    for estimator in ("weighted", "full"):
        torch.manual_seed(0)
        words = ("objective=beta_tc", f"objective.estimator={estimator}", *MLP, "latent_dim=10")
        run = RunParts.build(config(*words))
        run.module.objective.eval().evaluated_images = 500
        torch.manual_seed(1)
        logged.append(run.module.objective(run.vae, torch.rand(64, 1, 28, 28).round(), 0))
    for name in ("mutual_information", "total_correlation", "dimension_kl", "loss", "criterion"):
        torch.testing.assert_close(logged[0][name], logged[1][name], rtol=1e-4, atol=1e-3)


def test_weighted_estimator_trains_the_same_weights_with_or_without_its_factor(config):
    """The shift is a constant: the gradient is that of the published estimator, bit for bit."""
    from vaelab.objectives.beta_tc import BetaTC

    run = RunParts.build(config("objective=beta_tc", "objective.estimator=weighted", *TINY))
    objective, x, gradients = run.module.objective, torch.rand(6, 1, 28, 28).round(), []
    assert isinstance(objective, BetaTC)
    objective.dataset_size = 1000
    for shift in (math.log, lambda _: 0.0):
        torch.manual_seed(0)
        run.module.zero_grad()
        with pytest.MonkeyPatch.context() as patch:
            name = "vaelab.objectives.beta_tc.math"
            fake = type("math", (), {"log": lambda n, f=shift: f(n) if n == 1000 else math.log(n)})
            patch.setattr(name, fake)
            objective(run.vae, x, 0)["loss"].mean().backward()
        gradients.append([weight.grad.clone() for weight in run.vae.parameters()])
    assert all(map(torch.equal, *gradients))


# ---- loss.scale=optimal

SAMPLED = ("iwae", "miwae", "piwae", "ciwae", "dreg", "renyi", "stl objective.samples=3")


@pytest.mark.parametrize("option", [*SAMPLED, "iwae objective.elbo_steps=1000"])
@pytest.mark.parametrize("loss", ["gaussian", "laplace"])
def test_optimal_scale_is_refused_for_several_samples(train, option, loss, tmp_path):
    words = (*f"objective={option}".split(), f"loss={loss}", "data.binarize=none", *TINY)
    with pytest.raises(UserError, match=r"loss\.scale=optimal .*: set loss\.scale=learned"):
        train(*words, "loss.scale=optimal")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("option", ["iwae", "stl objective.samples=3"])
def test_advice_for_an_optimal_scale_works(train, option):
    words = (*f"objective={option}".split(), "loss=gaussian", "data.binarize=none", *TINY)
    assert math.isfinite(train(*words, "loss.scale=learned")["nll"])


def test_optimal_scale_of_one_sample_trains(train):
    words = ("loss=gaussian", "data.binarize=none", *TINY, "loss.scale=optimal")
    assert math.isfinite(train("objective=iwae", "objective.samples=1", *words)["nll"])


def test_old_run_with_an_optimal_scale_of_several_samples_opens(train, monkeypatch):
    from vaelab.objectives.sampled import MultiSampleBound

    words = ("objective=iwae", "loss=gaussian", "data.binarize=none", *TINY, "loss.scale=optimal")
    with monkeypatch.context() as patch:
        patch.setattr(MultiSampleBound, "check_training", lambda *_: None)
        folder = train(*words)["folder"]
    from vaelab.evaluation.base import EvaluationConfig
    from vaelab.evaluation.likelihood import evaluate

    run = RunParts.open(folder)
    assert math.isfinite(evaluate(run, EvaluationConfig(samples=2, images=20))["nll"])
