import pytest
import torch

from vaelab.kl.constant import Constant
from vaelab.kl.cyclical import Cyclical
from vaelab.kl.warmup import Warmup


def test_constant_is_beta_at_every_step():
    assert [Constant(4.0).weight(step) for step in (0, 1, 10**6)] == [4.0] * 3


def test_warmup_rises_linearly_to_beta_and_stays():
    weighting = Warmup(period=100, beta=2.0)
    assert [weighting.weight(step) for step in (0, 25, 100, 10**6)] == [0.0, 0.5, 2.0, 2.0]


def test_cyclical_starts_again_every_period():
    weighting = Cyclical(period=100, rise=0.5, beta=2.0)
    assert [weighting.weight(step) for step in (0, 25, 50, 99)] == [0.0, 1.0, 2.0, 2.0]
    assert all(weighting.weight(step) == weighting.weight(step + 300) for step in range(100))


@pytest.mark.parametrize("weighting", [Constant(3.0), Warmup(10), Cyclical(10)])
def test_the_term_is_the_weight_times_the_sum_over_dimensions(weighting):
    kl = torch.rand(5, 3)
    torch.testing.assert_close(weighting(kl, 4), weighting.weight(4) * kl.sum(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), r"kl\.beta=-1"),
        (lambda: Constant(float("nan")), r"kl\.beta=nan"),
        (lambda: Warmup(0), r"kl\.period=0"),
        (lambda: Cyclical(0), r"kl\.period=0"),
        (lambda: Cyclical(10, rise=0.0), r"kl\.rise=0"),
    ],
)
def test_an_impossible_setting_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
