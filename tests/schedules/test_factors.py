import pytest
import torch

from vaelab.schedules.constant import ConstantSchedule
from vaelab.schedules.cosine import Cosine
from vaelab.schedules.one_cycle import OneCycle
from vaelab.schedules.stages import Stages


def test_constant_is_one():
    assert [ConstantSchedule().factor(step, 100) for step in (0, 50, 100)] == [1.0] * 3


def test_cosine_is_torchs_cosine_annealing():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    for step in range(100):
        assert Cosine().factor(step, 100) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_one_cycle_is_torchs_one_cycle():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=101, pct_start=31 / 101, div_factor=25, final_div_factor=400
    )
    ours = OneCycle(rise=0.3, start=0.04, end=0.0001)
    for step in range(101):
        assert ours.factor(step, 100) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        if step < 100:
            theirs.step()


@pytest.mark.parametrize("schedule", [Cosine(), OneCycle()])
def test_a_step_past_the_end_is_the_end(schedule):
    assert schedule.factor(200, 100) == schedule.factor(100, 100)


def test_stages_are_those_of_the_iwae_paper():
    """3^i epochs at 10^(-i/7) for i = 0 ... 7."""
    schedule, start = Stages(), 0
    for i in range(8):
        for epoch in (start, start + 3**i - 1):
            assert schedule.factor(epoch, 3280) == pytest.approx(10 ** (-i / 7))
        start += 3**i
    assert start == 3280


@pytest.mark.parametrize("setting", [{"stages": 1}, {"ratio": 0.0}, {"last": -1.0}])
def test_impossible_stages_are_refused(setting):
    with pytest.raises(ValueError, match=rf"schedule\.{next(iter(setting))}"):
        Stages(**setting)
