"""Test learning rate schedules against the schedulers of torch and against the papers."""

import pytest
import torch

from vaelab.schedules.constant import ConstantSchedule
from vaelab.schedules.cosine import Cosine
from vaelab.schedules.one_cycle import OneCycle
from vaelab.schedules.stages import Stages


def test_constant_factor_is_1():
    assert [ConstantSchedule().factor(step, 100) for step in (0, 50, 100)] == [1.0] * 3


def test_cosine_equals_torch_cosine_annealing():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    torch_schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    for step in range(100):
        assert Cosine().factor(step, 100) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torch_schedule.step()


def test_one_cycle_equals_torch_one_cycle():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    torch_schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=101, pct_start=31 / 101, div_factor=25, final_div_factor=400
    )
    schedule = OneCycle(rise=0.3, start=0.04, end=0.0001)
    for step in range(101):
        assert schedule.factor(step, 100) == pytest.approx(
            optimizer.param_groups[0]["lr"], abs=1e-6
        )
        optimizer.step()
        if step < 100:
            torch_schedule.step()


@pytest.mark.parametrize("schedule", [Cosine(), OneCycle()])
def test_steps_after_the_last_one_keep_the_last_factor(schedule):
    assert schedule.factor(200, 100) == schedule.factor(100, 100)


def test_default_stages_are_those_of_the_iwae_paper():
    """3^i epochs at 10^(-i/7) for i = 0 ... 7."""
    schedule, start = Stages(), 0
    for i in range(8):
        for epoch in (start, start + 3**i - 1):
            assert schedule.factor(epoch, 3280) == pytest.approx(10 ** (-i / 7))
        start += 3**i
    assert start == 3280


@pytest.mark.parametrize("setting", [{"stages": 1}, {"ratio": 0.0}, {"last": -1.0}])
def test_invalid_stages_raise(setting):
    with pytest.raises(ValueError, match=rf"schedule\.{next(iter(setting))}"):
        Stages(**setting)
