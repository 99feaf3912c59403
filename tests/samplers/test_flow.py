import math

import pytest
import torch

from vaelab.samplers.flow import FlowSampler

ROOT = torch.tensor([[1.0, 0.0], [0.8, 0.3]])
ENTROPY = 1 + math.log(2 * math.pi) + math.log(0.3)  # D/2 ln(2 pi e) + ln |root|


def fitted(**settings):
    torch.manual_seed(1)
    sampler = FlowSampler(hidden=[32, 32], transforms=2, steps=500, **settings)
    sampler.fit(torch.randn(4000, 2) @ ROOT.T + 5)
    return sampler


@pytest.mark.parametrize("kind", ["spline", "affine"])
def test_fitted_to_a_correlated_normal_it_reaches_its_entropy_to_3_hundredths_of_a_nat(kind):
    sampler = fitted(kind=kind)
    codes = torch.randn(20_000, 2) @ ROOT.T + 5
    with torch.no_grad():
        log_p = sampler.log_prob((codes - sampler.mean) / sampler.scale) - sampler.scale.log().sum()
    error = log_p.std().item() / math.sqrt(len(log_p))
    assert -log_p.mean().item() > ENTROPY - 4 * error
    assert -log_p.mean().item() == pytest.approx(ENTROPY, abs=0.03 + 4 * error)


def test_its_draws_are_those_of_its_density():
    sampler = fitted(kind="affine")
    z = sampler.sample(5000)
    assert torch.allclose(z.mean(0), torch.tensor([5.0, 5.0]), atol=0.1)
    assert torch.allclose(z.T.cov(), ROOT @ ROOT.T, atol=0.15)
    with torch.no_grad():
        own = -sampler.log_prob((z - sampler.mean) / sampler.scale) + sampler.scale.log().sum()
    assert own.mean().item() == pytest.approx(ENTROPY, abs=0.1)


def test_a_temperature_of_0_draws_one_code_again_and_again():
    z = fitted(kind="affine", temperature=0.0).sample(5)
    assert len(z.unique(dim=0)) == 1
    assert torch.allclose(z[0], torch.tensor([5.0, 5.0]), atol=0.15)  # a normal's is its mean


def test_a_smaller_temperature_draws_nearer_to_the_middle():
    deviations = [fitted(kind="affine", temperature=t).sample(2000).std(0) for t in (0.5, 1.0)]
    torch.testing.assert_close(deviations[0], 0.5 * deviations[1], rtol=0.1, atol=0)


def test_patience_ends_the_fit(monkeypatch):
    taken = []
    step = FlowSampler._step
    monkeypatch.setattr(FlowSampler, "_step", lambda *words: taken.append(0) or step(*words))
    monkeypatch.setattr(FlowSampler, "_value", lambda *_: -float(len(taken)))  # worse at every look
    sampler = FlowSampler(hidden=[4], steps=5000, patience=200)
    sampler.fit(torch.randn(50, 2))
    assert len(taken) == 300


def test_a_fit_that_diverges_says_so():
    sampler = FlowSampler(kind="affine", hidden=[4], steps=1)
    sampler.log_prob = lambda codes: sampler.network(None).log_prob(codes) * math.nan
    with pytest.raises(ValueError, match=r"sampler\.lr=0\.001: the fit has diverged"):
        sampler.fit(torch.randn(50, 2))
