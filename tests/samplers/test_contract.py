"""The contract of samplers/base.py, for every file of conf/sampler."""

import copy
import math

import pytest
import torch
from conftest import options

from vaelab.runs.run import RunParts

QUICK = {"gmm": ["sampler.components=2"]}
QUICK |= {name: ["sampler.hidden=[8]", "sampler.steps=20"] for name in ("flow", "two_stage")}
QUICK |= {
    name: ["sampler.width=8", "sampler.blocks=1", "sampler.ode_steps=3", "sampler.steps=20"]
    for name in ("flow_matching", "diffusion")
}
LATENTS = torch.randn(100, 3, generator=torch.Generator().manual_seed(1)) * 2 + 5
TESTED = sorted({*options("sampler")} - {"autoregressive"})  # no prior here is autoregressive
FITTED = sorted(QUICK)


@pytest.fixture
def sampler(part):
    def make(option, *words):
        return part(f"sampler={option}", *QUICK.get(option, []), *words, recipe="sample")

    return make


@pytest.fixture
def vae(config):
    def make(*words):
        return RunParts.build(config("model.hidden=[8]", "latent_dim=3", *words)).vae.eval()

    return make


def fit_and_sample(sampler, vae, latents=LATENTS):
    sampler.prepare(vae)
    torch.manual_seed(2)
    sampler.fit(latents)
    return sampler.sample(7)


@pytest.mark.parametrize("option", TESTED)
def test_samples_are_finite_and_the_model_is_unchanged(sampler, vae, option):
    vae, latents = vae(), LATENTS.clone()
    before = copy.deepcopy(vae.state_dict())
    z = fit_and_sample(sampler(option), vae, latents)
    assert z.shape == (7, 3)
    assert z.dtype == torch.float32
    assert torch.isfinite(z).all()
    assert not z.requires_grad
    assert torch.equal(latents, LATENTS)
    assert all(torch.equal(before[name], weight) for name, weight in vae.state_dict().items())


@pytest.mark.parametrize("option", TESTED)
def test_samples_are_bit_identical_for_equal_seeds_only(sampler, vae, option):
    vae = vae()
    first = fit_and_sample(sampler(option), vae)
    assert torch.equal(first, fit_and_sample(sampler(option), vae))
    reseeded = sampler(option)
    reseeded.prepare(vae)
    torch.manual_seed(3)
    reseeded.fit(LATENTS)
    assert not torch.equal(first, reseeded.sample(7))


@pytest.mark.parametrize("option", FITTED)
def test_samples_are_equivariant_to_scale_and_shift_of_latents(sampler, vae, option):
    z = fit_and_sample(sampler(option), vae())
    moved = fit_and_sample(sampler(option), vae(), LATENTS * 1024 - 4096)
    torch.testing.assert_close(moved, z * 1024 - 4096, rtol=1e-3, atol=2)


@pytest.mark.parametrize("option", FITTED)
def test_constant_dimension_gives_finite_samples(sampler, vae, option):
    latents = torch.cat([LATENTS[:, :2], torch.full((100, 1), 3.0)], -1)
    z = fit_and_sample(sampler(option), vae(), latents)
    assert torch.isfinite(z).all()


@pytest.mark.parametrize("option", options("sampler"))
@pytest.mark.parametrize("temperature", [-1.0, math.inf, math.nan])
def test_invalid_temperatures_are_refused(sampler, option, temperature):
    with pytest.raises(ValueError, match=r"temperature=.*: it must be a finite number"):
        sampler(option, f"temperature={temperature}")


@pytest.mark.parametrize("option", FITTED)
def test_latents_on_the_sphere_are_refused(sampler, vae, option):
    with pytest.raises(ValueError, match=f"sampler={option} .* unit sphere: set sampler=prior"):
        sampler(option).prepare(vae("posterior=vmf"))


@pytest.mark.parametrize("option", FITTED)
def test_too_few_or_non_finite_latents_are_refused(sampler, option):
    with pytest.raises(ValueError, match=r"of which there are 1; .* set sampler=prior"):
        sampler(option).fit(LATENTS[:1])
    with pytest.raises(ValueError, match="needs latents without NaN or infinity, but only 0 of"):
        sampler(option).fit(LATENTS * math.nan)


@pytest.mark.parametrize(
    "setting",
    [
        "gmm components=0",
        "gmm components=101",
        "gmm iterations=0",
        "flow transforms=0",
        "flow hidden=[0]",
        "flow steps=0",
        "two_stage hidden=[0]",
        "two_stage patience=0",
        "two_stage lr=0",
        "flow_matching width=0",
        "diffusion ode_steps=0",
    ],
)
def test_invalid_settings_are_refused(sampler, setting):
    option, value = setting.split()
    word = f"++sampler.{value}"  # `++` also for settings that the yaml file does not name
    with pytest.raises(ValueError, match=f"sampler.{value.split('=')[0]}="):
        sampler(option, word).fit(LATENTS)


@pytest.mark.parametrize("option", ["flow", "flow_matching", "two_stage"])
@pytest.mark.parametrize("count", [2, 5, 99])
def test_network_needs_a_hundred_latents(sampler, vae, option, count):
    with pytest.raises(ValueError, match=f"at least 100 training images .* there are {count};"):
        fit_and_sample(sampler(option), vae(), LATENTS[:count])
