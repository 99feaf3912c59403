import math

import pytest
import torch
from conftest import slow

from vaelab.samplers.flow import FlowSampler

ROOT = torch.tensor([[1.0, 0.0], [0.8, 0.3]])
ENTROPY = 1 + math.log(2 * math.pi) + math.log(0.3)  # D/2 ln(2 pi e) + ln |root|


def fit_flow(**settings):
    torch.manual_seed(1)
    sampler = FlowSampler(hidden=[32, 32], transforms=2, steps=500, **settings)
    sampler.fit(torch.randn(4000, 2) @ ROOT.T + 5)
    return sampler


@pytest.mark.parametrize("kind", [*slow("spline"), "affine"])
def test_flow_reaches_the_entropy_of_a_correlated_normal(kind):
    sampler = fit_flow(kind=kind)
    latents = torch.randn(20_000, 2) @ ROOT.T + 5
    with torch.no_grad():
        log_p = (
            sampler.log_prob((latents - sampler.mean) / sampler.scale) - sampler.scale.log().sum()
        )
    error = log_p.std().item() / math.sqrt(len(log_p))
    assert -log_p.mean().item() > ENTROPY - 4 * error
    assert -log_p.mean().item() == pytest.approx(ENTROPY, abs=0.03 + 4 * error)


def test_samples_follow_the_fitted_density():
    sampler = fit_flow(kind="affine")
    z = sampler.sample(5000)
    assert torch.allclose(z.mean(0), torch.tensor([5.0, 5.0]), atol=0.1)
    assert torch.allclose(z.T.cov(), ROOT @ ROOT.T, atol=0.15)
    with torch.no_grad():
        negative_log_prob = (
            -sampler.log_prob((z - sampler.mean) / sampler.scale) + sampler.scale.log().sum()
        )
    assert negative_log_prob.mean().item() == pytest.approx(ENTROPY, abs=0.1)


def test_temperature_0_always_gives_the_same_sample():
    z = fit_flow(kind="affine", temperature=0.0).sample(5)
    assert len(z.unique(dim=0)) == 1
    assert torch.allclose(z[0], torch.tensor([5.0, 5.0]), atol=0.15)  # the mean of a normal


@pytest.mark.slow
def test_temperature_scales_the_standard_deviation():
    scales = [fit_flow(kind="affine", temperature=t).sample(2000).std(0) for t in (0.5, 1.0)]
    torch.testing.assert_close(scales[0], 0.5 * scales[1], rtol=0.1, atol=0)


@pytest.mark.slow
def test_patience_stops_the_fit(monkeypatch):
    steps = []
    take_step = FlowSampler._take_step
    monkeypatch.setattr(
        FlowSampler, "_take_step", lambda *args: steps.append(0) or take_step(*args)
    )
    monkeypatch.setattr(FlowSampler, "_validate", lambda *_: -float(len(steps)))  # always worse
    sampler = FlowSampler(hidden=[4], steps=5000, patience=200)
    sampler.fit(torch.randn(100, 2))
    assert len(steps) == 300


def test_diverging_fit_raises_an_error():
    sampler = FlowSampler(kind="affine", hidden=[4], steps=1)
    sampler.log_prob = lambda latents: sampler.network(None).log_prob(latents) * math.nan
    with pytest.raises(ValueError, match=r"sampler\.lr=0\.001: the fit has diverged"):
        sampler.fit(torch.randn(100, 2))
