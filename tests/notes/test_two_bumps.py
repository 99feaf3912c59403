"""Exact values of the normals fitted to 1/2 N(-d, 1) + 1/2 N(d, 1)."""

import math

import pytest
import torch

from vaelab.notes.two_bumps import (
    forward_kl,
    minimize_forward_kl,
    minimize_reverse_kl,
    reverse_kl,
    two_bump_centres,
)


@pytest.mark.parametrize(("distance", "sd", "kl"), [(3.0, 3.162, 0.4620), (2.0, 2.236, 0.1720)])
def test_forward_fit_covers_both_bumps(distance, sd, kl):
    fit = minimize_forward_kl(two_bump_centres(distance))
    assert (round(fit.mean, 3), round(fit.sd, 3), round(fit.kl, 4)) == (0, sd, kl)


@pytest.mark.parametrize(("start", "mean"), [(3.0, 2.984), (-3.0, -2.984)])
def test_reverse_fit_stays_at_the_bump_where_it_starts(start, mean):
    fit = minimize_reverse_kl(two_bump_centres(3.0), start)
    assert (round(fit.mean, 3), round(fit.sd, 3), round(fit.kl, 4)) == (mean, 1.023, 0.6888)


def test_reverse_kl_has_a_worse_minimum_between_bumps_at_distance_3():
    fit = minimize_reverse_kl(two_bump_centres(3.0), 0.5)
    assert (round(fit.mean, 3), round(fit.sd, 3), round(fit.kl, 4)) == (0, 2.744, 0.8406)


@pytest.mark.parametrize("start", [-2.0, 0.3, 2.0, 4.0])
def test_reverse_fit_covers_both_bumps_at_distance_2(start):
    fit = minimize_reverse_kl(two_bump_centres(2.0), start)
    assert (round(fit.mean, 3), round(fit.sd, 3), round(fit.kl, 4)) == (0, 2.047, 0.2265)


@pytest.mark.parametrize(("distance", "middle"), [(2.5, True), (2.75, True), (2.85, False)])
def test_central_minimum_is_the_better_one_up_to_distance_2_8(distance, middle):
    centres = two_bump_centres(distance)
    bump, between = (minimize_reverse_kl(centres, start) for start in (distance, 0.0))
    assert bump.mean > 2
    assert abs(between.mean) < 1e-6
    assert (between.kl < bump.kl) == middle


def test_reverse_kl_of_one_distant_bump_is_ln_2():
    fit = minimize_reverse_kl(two_bump_centres(8.0), 8.0)
    assert fit.kl == pytest.approx(math.log(2), abs=1e-6)


def test_fits_are_local_minima():
    centres = two_bump_centres(3.0)
    forward, reverse = minimize_forward_kl(centres), minimize_reverse_kl(centres, 3.0)
    for shift, widening in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)):
        assert forward_kl(forward.mean + shift, forward.sd + widening, centres) > forward.kl
        mean, sd = torch.tensor(reverse.mean + shift), torch.tensor(reverse.sd + widening)
        assert reverse_kl(mean, sd, centres) > reverse.kl


def test_single_bump_is_fitted_exactly():
    centre = torch.tensor([1.5]).double()
    for fit in (minimize_forward_kl(centre, 0.7), minimize_reverse_kl(centre, 0.0, 0.7)):
        assert (fit.mean, fit.sd, fit.kl) == pytest.approx((1.5, 0.7, 0.0), abs=1e-7)


def test_reverse_fit_to_samples_collapses_to_one_sample():
    """The best q for narrow kernels on 12 samples is one of the kernels, with a KL of ln 12.

    The forward fit hardly depends on the width of the kernels.
    """
    samples = torch.cat([torch.randn(6) - 3, torch.randn(6) + 3]).double()
    fits = [minimize_reverse_kl(samples, samples[0].item(), width) for width in (1.0, 0.1, 0.02)]
    assert fits[0].sd > 2 * fits[1].sd > 4 * fits[2].sd
    assert (samples - fits[2].mean).abs().min() < 1e-6
    assert fits[2][1:] == pytest.approx((0.02, math.log(12)), rel=1e-6)
    forward = [minimize_forward_kl(samples, width) for width in (0.1, 0.02)]
    assert forward[0].sd == pytest.approx(forward[1].sd, rel=1e-2)
