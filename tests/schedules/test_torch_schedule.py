"""Schedulers of torch: each interval, and the plateau that watches the validation."""

import csv
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

from vaelab.runtime.errors import UserError
from vaelab.schedules.plateau import Plateau
from vaelab.schedules.torch_schedule import TorchSchedule

SMALL = ("model.hidden=[8]", "latent_dim=3", "logger=csv", "trainer.limit_train_batches=4")


def read_learning_rates(numbers):
    """Return the learning rate of every training step from metrics.csv."""
    with (numbers["folder"] / "metrics.csv").open() as file:
        return [float(row["train/lr"]) for row in csv.DictReader(file) if row["train/lr"]]


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ("step", [1, 0.5, 0.25, 0.125] + [2**-i for i in range(4, 8)]),
        ("epoch", [1] * 4 + [0.5] * 4),
    ],
)
def test_scheduler_of_torch_steps_in_its_interval(train, interval, expected):
    scheduler = "{_target_:torch.optim.lr_scheduler.StepLR,_partial_:true,step_size:1,gamma:0.5}"
    words = ["schedule=torch", f"schedule.scheduler={scheduler}", f"schedule.interval={interval}"]
    numbers = train(*SMALL, *words, "optimizer.lr=1e-3", "trainer.max_epochs=2")
    assert read_learning_rates(numbers) == pytest.approx([1e-3 * each for each in expected])


def test_plateau_lowers_the_learning_rate_after_validations_without_improvement(train):
    words = ["schedule=plateau", "schedule.patience=1", "schedule.min_delta=1e6"]
    numbers = train(*SMALL, *words, "optimizer.lr=1e-3", "trainer.max_epochs=5")
    # the first validation is the best, the third and the fifth are the second without improvement
    expected = [1e-3] * 12 + [1e-4] * 8
    assert read_learning_rates(numbers) == pytest.approx(expected)


def test_plateau_keeps_the_learning_rate_while_the_validation_improves():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = Plateau(ratio=0.5, patience=0).build_scheduler(optimizer, lambda: 1)
    for value, expected in ((-9.0, 1.0), (-8.0, 1.0), (-8.5, 0.5), (-7.0, 0.5)):
        scheduler.step(value)
        assert optimizer.param_groups[0]["lr"] == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=toy2d", "loss=mse", "data.validation=0"], r"set data\.validation"),
        (["trainer.limit_val_batches=0"], r"set trainer\.limit_val_batches=null"),
    ],
)
def test_plateau_without_validation_is_refused(train, tmp_path, words, message):
    with pytest.raises(UserError, match=f"schedule=plateau needs validation images: {message}"):
        train("schedule=plateau", *words)
    assert not (tmp_path / "run" / "provenance.json").exists()


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ("{_target_:torch.optim.lr_scheduler.StepLR,_partial_:true}", "schedule: .*step_size"),
        ("{_target_:torch.optim.lr_scheduler.StepLR,step_size:1}", "needs the key _partial_: true"),
        ("{_target_:torch.optim.lr_scheduler.StepLR,_partial_:true,steps:1}", "no such key"),
        (
            "{_target_:torch.optim.lr_scheduler.ReduceLROnPlateau,_partial_:true}",
            "schedule=plateau",
        ),
    ],
)
def test_bad_scheduler_is_refused_before_the_first_step(train, tmp_path, scheduler, message):
    with pytest.raises(UserError, match=message):
        train("model.hidden=[8]", "schedule=torch", f"schedule.scheduler={scheduler}")
    assert not (tmp_path / "run" / "provenance.json").exists()


def test_bad_settings_raise():
    with pytest.raises(UserError, match=r"schedule\.interval=hour"):
        TorchSchedule(partial(lr_scheduler.StepLR, step_size=1), interval="hour")
    with pytest.raises(UserError, match=r"schedule\.ratio=1"):
        Plateau(ratio=1)


def test_schedule_that_needs_the_end_of_a_training_without_one_is_refused(train, tmp_path):
    with pytest.raises(UserError, match=r"Cosine needs to know .*set trainer\.max_epochs"):
        train("model.hidden=[8]", "schedule=cosine", "trainer.max_epochs=-1")
    assert not (tmp_path / "run" / "provenance.json").exists()
