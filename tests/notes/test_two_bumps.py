"""The exact values of one normal fitted to 1/2 N(-d, 1) + 1/2 N(d, 1)."""

import math

import pytest
import torch

from vaelab.notes.two_bumps import forward_fit, forward_kl, reverse_fit, reverse_kl, two_bumps


@pytest.mark.parametrize(("distance", "sd", "kl"), [(3.0, 3.162, 0.4620), (2.0, 2.236, 0.1720)])
def test_the_forward_fit_covers_both(distance, sd, kl):
    fit = forward_fit(two_bumps(distance))
    assert (round(fit.mean, 3), round(fit.sd, 3), round(fit.kl, 4)) == (0, sd, kl)


@pytest.mark.parametrize(("start", "mean"), [(3.0, 2.984), (-3.0, -2.984)])
def test_the_reverse_fit_keeps_to_the_bump_it_starts_at(start, mean):
    fit = reverse_fit(two_bumps(3.0), start)
    assert (round(fit.mean, 3), round(fit.sd, 3), round(fit.kl, 4)) == (mean, 1.023, 0.6888)


def test_three_deviations_apart_it_has_a_worse_minimum_in_the_middle():
    fit = reverse_fit(two_bumps(3.0), 0.5)
    assert (round(fit.mean, 3), round(fit.sd, 3), round(fit.kl, 4)) == (0, 2.744, 0.8406)


@pytest.mark.parametrize("start", [-2.0, 0.3, 2.0, 4.0])
def test_two_deviations_apart_the_reverse_fit_covers_both_too(start):
    fit = reverse_fit(two_bumps(2.0), start)
    assert (round(fit.mean, 3), round(fit.sd, 3), round(fit.kl, 4)) == (0, 2.047, 0.2265)


@pytest.mark.parametrize(("distance", "middle"), [(2.5, True), (2.75, True), (2.85, False)])
def test_the_middle_is_the_better_minimum_until_2_8_deviations(distance, middle):
    bump, between = (reverse_fit(two_bumps(distance), start) for start in (distance, 0.0))
    assert bump.mean > 2
    assert abs(between.mean) < 1e-6
    assert (between.kl < bump.kl) == middle


def test_far_apart_the_reverse_fit_pays_the_weight_of_its_bump():
    assert reverse_fit(two_bumps(8.0), 8.0).kl == pytest.approx(math.log(2), abs=1e-6)


def test_no_other_normal_is_nearer():
    centres = two_bumps(3.0)
    best, other = forward_fit(centres), reverse_fit(centres, 3.0)
    for mean, sd in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)):
        assert forward_kl(best.mean + mean, best.sd + sd, centres) > best.kl
        place = [torch.tensor(each) for each in (other.mean + mean, other.sd + sd)]
        assert reverse_kl(*place, centres) > other.kl


def test_one_bump_is_fitted_exactly():
    one = torch.tensor([1.5]).double()
    for fit in (forward_fit(one, 0.7), reverse_fit(one, 0.0, 0.7)):
        assert (fit.mean, fit.sd, fit.kl) == pytest.approx((1.5, 0.7, 0.0), abs=1e-7)


def test_from_samples_the_reverse_fit_is_one_of_them():
    """p is known at 12 points only, and a kernel stands for it at each: when these are narrow, the
    best q is one of them, ln 12 away. The forward fit takes no notice."""
    samples = torch.cat([torch.randn(6) - 3, torch.randn(6) + 3]).double()
    fits = [reverse_fit(samples, samples[0].item(), width) for width in (1.0, 0.1, 0.02)]
    assert fits[0].sd > 2 * fits[1].sd > 4 * fits[2].sd
    assert (samples - fits[2].mean).abs().min() < 1e-6
    assert fits[2][1:] == pytest.approx((0.02, math.log(12)), rel=1e-6)
    forward = [forward_fit(samples, width) for width in (0.1, 0.02)]
    assert forward[0].sd == pytest.approx(forward[1].sd, rel=1e-2)
