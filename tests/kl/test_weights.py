"""Test every KL weighting against values computed by hand."""

import pytest
import torch

from vaelab.kl.capacity import Capacity
from vaelab.kl.constant import ConstantWeight
from vaelab.kl.cyclical import Cyclical
from vaelab.kl.free_bits import FreeBits
from vaelab.kl.warmup import Warmup


def test_constant_weight_is_beta_at_every_step():
    assert [ConstantWeight(4.0).weight(step) for step in (0, 1, 10**6)] == [4.0] * 3


def test_warmup_rises_linearly_to_beta_and_stays_there():
    weighting = Warmup(period=100, beta=2.0)
    assert [weighting.weight(step) for step in (0, 25, 100, 10**6)] == [0.0, 0.5, 2.0, 2.0]


def test_cyclical_weight_restarts_every_period():
    weighting = Cyclical(period=100, rise=0.5, beta=2.0)
    assert [weighting.weight(step) for step in (0, 25, 50, 99)] == [0.0, 1.0, 2.0, 2.0]
    assert all(weighting.weight(step) == weighting.weight(step + 300) for step in range(100))


KL = torch.tensor([[0.0, 0.2, 3.0], [0.05, 0.1, 1.0]])


def test_free_bits_apply_a_floor_to_each_dimension_of_each_image():
    torch.testing.assert_close(FreeBits(nats=0.1, beta=2.0)(KL, 0), 2 * torch.tensor([3.3, 1.2]))


def test_free_bits_with_mean_apply_the_floor_to_the_mean_over_images():
    term = FreeBits(nats=0.12, mean=True)(KL, 0)
    assert term.mean().item() == pytest.approx(0.12 + 0.15 + 2.0)
    kl = KL.clone().requires_grad_()
    FreeBits(nats=0.12, mean=True)(kl, 0).mean().backward()
    torch.testing.assert_close(kl.grad, torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]))


@pytest.mark.parametrize("mean", [False, True])
def test_free_bits_with_a_floor_of_0_equal_a_constant_weight(mean):
    torch.testing.assert_close(FreeBits(nats=0.0, mean=mean)(KL, 5), ConstantWeight()(KL, 5))


def test_kl_below_the_floor_has_no_gradient():
    kl = torch.tensor([[0.05, 0.2]], requires_grad=True)
    FreeBits(nats=0.1)(kl, 0).sum().backward()
    assert kl.grad.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("mean", [False, True])
def test_capacity_of_0_equals_a_constant_weight(mean):
    torch.testing.assert_close(
        Capacity(nats=0.0, beta=4.0, mean=mean)(KL, 5).mean(), ConstantWeight(4.0)(KL, 5).mean()
    )


def test_capacity_grows_linearly_and_stays_there():
    weighting = Capacity(nats=25.0, period=100)
    assert [weighting.capacity(step) for step in (0, 50, 100, 10**6)] == [0.0, 12.5, 25.0, 25.0]


def test_capacity_penalises_a_kl_above_and_below_it():
    weighting = Capacity(nats=2.0, period=1, beta=3.0)
    torch.testing.assert_close(weighting(KL, 1), 3 * torch.tensor([1.2, 0.85]))
    for nats in (2.0, 3.0):  # below and above the mean, 2.175
        mean_weighting = Capacity(nats, period=1, beta=3.0, mean=True)
        expected = 3 * abs(KL.sum(1).mean().item() - nats)
        assert mean_weighting(KL, 1).mean().item() == pytest.approx(expected)


@pytest.mark.parametrize("weighting", [FreeBits(mean=True), Capacity(mean=True)])
def test_mean_over_images_includes_all_processes_only_in_training(weighting, monkeypatch):
    monkeypatch.setattr("vaelab.kl.base.mean_over_processes", lambda mean: mean + 1)
    torch.testing.assert_close(weighting.mean_over_images(KL), KL.mean(0) + 1)
    torch.testing.assert_close(weighting.eval().mean_over_images(KL), KL.mean(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantWeight(-1.0), r"kl\.beta=-1"),
        (lambda: ConstantWeight(float("nan")), r"kl\.beta=nan"),
        (lambda: Warmup(0), r"kl\.period=0"),
        (lambda: Cyclical(0), r"kl\.period=0"),
        (lambda: Cyclical(10, rise=0.0), r"kl\.rise=0"),
        (lambda: FreeBits(-0.1), r"kl\.nats=-0.1"),
        (lambda: FreeBits(0.1, beta=-1.0), r"kl\.beta=-1"),
        (lambda: Capacity(float("inf")), r"kl\.nats=inf"),
        (lambda: Capacity(period=0), r"kl\.period=0"),
    ],
)
def test_invalid_setting_raises(make, message):
    with pytest.raises(ValueError, match=message):
        make()
