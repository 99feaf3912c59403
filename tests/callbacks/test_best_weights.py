"""Test which weights a run keeps: those with the best value of what is trained."""

import csv
import json

import pytest
import torch
from conftest import options
from tiny import MLP

from vaelab.kl.base import KLWeighting
from vaelab.kl.capacity import Capacity
from vaelab.kl.constant import ConstantWeight
from vaelab.kl.cyclical import Cyclical
from vaelab.kl.free_bits import FreeBits
from vaelab.kl.warmup import Warmup
from vaelab.objectives.elbo import ELBO

EPOCHS = ("trainer.limit_train_batches=4", "trainer.limit_val_batches=1", "trainer.max_steps=-1")
CSV = ("logger=csv", "trainer.log_every_n_steps=1")


class Sigmoid(KLWeighting):
    """A weighting of a user, which implements `weight` only and approaches its final value."""

    def weight(self, step: int) -> float:
        return 2 / (1 + 2.0 ** (10 - min(step, 1000)))


@pytest.mark.parametrize(
    ("weighting", "final", "arrives"),
    [
        (ConstantWeight(1.0), 1.0, 1),
        (ConstantWeight(1e-6), 1e-6, 1),
        (ConstantWeight(0.0), 0.0, 1),
        (Warmup(period=50, beta=3.0), 3.0, 51),
        (Capacity(period=50, beta=3.0), 3.0, 51),
        (FreeBits(beta=0.5), 0.5, 1),
        (Cyclical(period=10, rise=0.5, beta=4.0), 4.0, 6),
        (Cyclical(period=10, rise=1.0, beta=1.0), 0.9, 10),
        (Sigmoid(), 2.0, 21),
    ],
)
def test_weight_arrives_after_the_first_step_with_its_final_value(weighting, final, arrives):
    assert weighting.final_weight == pytest.approx(final)
    assert next(step for step in range(1, 200) if weighting.has_arrived(step)) == arrives


def test_cyclical_weight_has_arrived_only_in_the_second_part_of_each_period():
    weighting = Cyclical(period=10, rise=0.5)
    arrived = [step for step in range(1, 31) if weighting.has_arrived(step)]
    assert arrived == [6, 7, 8, 9, 10, 16, 17, 18, 19, 20, 26, 27, 28, 29, 30]


@pytest.mark.parametrize(
    ("weighting", "criterion"),
    [
        (ConstantWeight(1.0), "val/elbo"),
        (Warmup(), "val/elbo"),
        (Cyclical(), "val/elbo"),
        (ConstantWeight(4.0), "val/criterion"),
        (Warmup(beta=0.1), "val/criterion"),
        (FreeBits(), "val/criterion"),
        (Capacity(), "val/criterion"),
    ],
)
def test_criterion_is_the_elbo_only_if_the_elbo_is_trained(weighting, criterion):
    assert ELBO(weighting).criterion == criterion


WITH_OTHER_TERMS = ("factor", "aae", "vae_gan", "perceptual", "vq", "prior", "ms_ssim", "piwae")


@pytest.mark.parametrize("option", options("objective"))
@pytest.mark.parametrize("kl", ["constant", "warmup kl.beta=0.5 kl.period=1", "free_bits"])
def test_criterion_is_minus_the_final_loss(config, option, kl):
    """It holds for every objective, up to the terms of critics and of the commitment."""
    from vaelab.runs.run import RunParts

    words = [f"objective={option}", *f"kl={kl}".split(), *MLP, "latent_dim=4"]
    words += ["posterior=deterministic"] if option in ("rae", "autoencoder") else []
    words += ["prior=flow"] if option == "prior" else []
    words += ["posterior=vq", "posterior.codes=6"] if option == "vq" else []
    try:
        run = RunParts.build(config(*words))
    except ValueError as error:
        assert "not linear" in str(error)  # noqa: PT017
        return
    run.module.objective.dataset_size = 7
    torch.manual_seed(0)
    terms = run.module.objective.eval()(run.vae, torch.rand(7, 1, 28, 28).round(), 10**6)
    criterion = terms[run.module.objective.criterion.removeprefix("val/")].mean()
    if option in ("iwae", "miwae", "piwae", "ciwae", "dreg", "stl", "renyi") and "beta" not in kl:
        assert run.module.objective.criterion == "val/iw_bound"
    elif option not in (
        "factor",
        "aae",
        "vae_gan",
        "perceptual",
        "vq",
        "prior",
        "ms_ssim",
        "piwae",
    ):
        torch.testing.assert_close(criterion, -terms["loss"].mean())
    assert torch.isfinite(criterion)


def curve(folder, key):
    with (folder / "metrics.csv").open() as file:
        return [float(row[key]) for row in csv.DictReader(file) if row.get(key)]


def test_small_weight_keeps_the_best_reconstructing_weights_not_the_first(train):
    numbers = train(
        *MLP, *EPOCHS, *CSV, "kl.beta=1e-6", "trainer.max_epochs=6", "optimizer.lr=1e-2"
    )
    elbo, criterion = (curve(numbers["folder"], f"val/{key}") for key in ("elbo", "criterion"))
    assert elbo.index(max(elbo)) < criterion.index(max(criterion))  # else the test shows nothing
    assert numbers["step"] == 4 * (1 + criterion.index(max(criterion)))
    assert numbers["val_elbo"] == pytest.approx(elbo[criterion.index(max(criterion))], rel=1e-5)
    assert numbers["best"] == numbers["val_elbo"]
    assert "weight_warning" not in numbers


def test_latest_weights_are_kept_until_the_weight_has_arrived(train):
    numbers = train(*MLP, *EPOCHS, "trainer.max_epochs=5", "kl=warmup", "kl.period=2000")
    assert numbers["step"] == 20
    assert numbers["weight_warning"] == (
        "kl=warmup reached a weight of 0.0095 of 1: kl.period=2000 is too long for the 20 steps of "
        "the training, and the last weights are kept: set kl.period below 20"
    )
    report = (numbers["folder"] / "report.html").read_text()
    assert "kl.period=2000 is too long for the 20 steps" in report


def test_warning_ends_when_its_advice_is_followed(train):
    numbers = train(*MLP, *EPOCHS, "trainer.max_epochs=5", "kl=warmup", "kl.period=19")
    assert "weight_warning" not in numbers


def test_capacity_that_is_not_reached_is_named(train):
    numbers = train(*MLP, "kl=capacity", "trainer.limit_val_batches=1")
    assert "kl=capacity reached a capacity of 0.0025 of 25 nats" in numbers["weight_warning"]


def test_validations_that_miss_the_final_weight_are_named(train):
    """An epoch of 4 steps ends in the second part of a period of 4, one of 9 in a rise."""
    words = ("kl=cyclical", "kl.period=4", "kl.rise=0.5", "trainer.check_val_every_n_epoch=1")
    assert "weight_warning" not in train(*MLP, *EPOCHS, *words, "trainer.max_epochs=2")
    numbers = train(
        *MLP,
        "kl=cyclical",
        "kl.period=8",
        "kl.rise=0.25",
        "trainer.limit_train_batches=9",
        "trainer.max_steps=-1",
        "trainer.max_epochs=1",
        folder="other",
    )
    assert "no validation came after a step with the final weight" in numbers["weight_warning"]


def test_training_without_a_validation_does_not_blame_the_weight(train):
    numbers = train(*MLP, "trainer.limit_train_batches=3", "trainer.max_steps=1")
    assert numbers["weight_warning"].startswith("no validation gave a value, and the last")


def test_early_stopping_waits_for_the_weight(train):
    """A learning rate of 1e-12 brings no improvement, so each validation that counts is bad."""
    words = ("callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=1")
    words += (*MLP, *EPOCHS, "trainer.max_epochs=8", "callbacks.early_stopping.min_delta=1e3")
    assert train(*words, folder="constant")["epochs"] == 2
    warmed = train(*words, "kl=warmup", "kl.period=13", folder="warmup")
    assert warmed["epochs"] == 5  # after 16 steps the first validation counts
    assert train(*words, "kl=warmup", "kl.period=1000", folder="long")["epochs"] == 8


def test_plateau_waits_for_the_weight(train):
    words = ("schedule=plateau", "schedule.patience=0", "schedule.ratio=0.5", *MLP, *EPOCHS, *CSV)
    words += ("trainer.max_epochs=4", "optimizer.lr=1e-9")
    warmed = train(*words, "kl=warmup", "kl.period=1000")
    assert set(curve(warmed["folder"], "train/lr")) == {1e-9}


@pytest.mark.slow
def test_interrupted_run_keeps_the_same_weights(train, stopped_at, tmp_path):
    """The criterion of the best weights and the step of their choice survive a resume."""
    from omegaconf import OmegaConf

    from vaelab.runtime.errors import TrainingStopped
    from vaelab.train import train as train_run

    words = (*MLP, *EPOCHS, "trainer.max_epochs=6", "kl=warmup", "kl.period=9", "kl.beta=0.01")
    whole = train(*words, folder="whole")
    stopped_at(14)
    with pytest.raises(TrainingStopped):
        train(*words, folder="stopped")
    folder = tmp_path / "stopped"
    stopped_at(-1)
    train_run(OmegaConf.load(folder / ".hydra" / "config.yaml"), resume=True)
    again = json.loads((folder / "metrics.json").read_text())
    names = ("step", "val_elbo", "elbo", "nll", "kl", "rmse")
    assert [again[name] for name in names] == [whole[name] for name in names]
