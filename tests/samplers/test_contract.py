"""What base.py promises, for every file of conf/sampler."""

import copy
import math

import pytest
import torch
from conftest import options

from vaelab.runs.run import Run

QUICK = {"gmm": ["sampler.components=2"]}
QUICK |= {name: ["sampler.hidden=[8]", "sampler.steps=20"] for name in ("flow", "two_stage")}
CODES = torch.randn(100, 3, generator=torch.Generator().manual_seed(1)) * 2 + 5
DRAWING = sorted({*options("sampler")} - {"autoregressive"})  # which no prior here is
FITTED = sorted(QUICK)


@pytest.fixture
def sampler(part):
    def make(option, *words):
        return part(f"sampler={option}", *QUICK.get(option, []), *words, recipe="sample")

    return make


@pytest.fixture
def vae(config):
    def make(*words):
        return Run.build(config("model.hidden=[8]", "latent_dim=3", *words)).vae.eval()

    return make


def drawn(sampler, vae, codes=CODES):
    sampler.prepare(vae)
    torch.manual_seed(2)
    sampler.fit(codes)
    return sampler.sample(7)


@pytest.mark.parametrize("option", DRAWING)
def test_it_draws_finite_codes_and_leaves_the_model_alone(sampler, vae, option):
    vae, codes = vae(), CODES.clone()
    before = copy.deepcopy(vae.state_dict())
    z = drawn(sampler(option), vae, codes)
    assert z.shape == (7, 3)
    assert z.dtype == torch.float32
    assert torch.isfinite(z).all()
    assert not z.requires_grad
    assert torch.equal(codes, CODES)
    assert all(torch.equal(before[name], weight) for name, weight in vae.state_dict().items())


@pytest.mark.parametrize("option", DRAWING)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(sampler, vae, option):
    vae = vae()
    first = drawn(sampler(option), vae)
    assert torch.equal(first, drawn(sampler(option), vae))
    chosen = sampler(option)
    chosen.prepare(vae)
    torch.manual_seed(3)
    chosen.fit(CODES)
    assert not torch.equal(first, chosen.sample(7))


@pytest.mark.parametrize("option", FITTED)
def test_codes_of_other_units_give_the_same_draws_in_those(sampler, vae, option):
    z = drawn(sampler(option), vae())
    moved = drawn(sampler(option), vae(), CODES * 1024 - 4096)
    torch.testing.assert_close(moved, z * 1024 - 4096, rtol=1e-3, atol=2)


@pytest.mark.parametrize("option", FITTED)
def test_a_dimension_that_all_codes_share_is_kept(sampler, vae, option):
    codes = torch.cat([CODES[:, :2], torch.full((100, 1), 3.0)], -1)
    z = drawn(sampler(option), vae(), codes)
    assert torch.isfinite(z).all()


@pytest.mark.parametrize("option", options("sampler"))
@pytest.mark.parametrize("temperature", [-1.0, math.inf, math.nan])
def test_an_impossible_temperature_is_refused(sampler, option, temperature):
    with pytest.raises(ValueError, match=r"temperature=.*: it must be a finite number"):
        sampler(option, f"temperature={temperature}")


@pytest.mark.parametrize("option", FITTED)
def test_codes_on_the_sphere_are_refused(sampler, vae, option):
    with pytest.raises(ValueError, match=f"sampler={option} .* unit sphere: set sampler=prior"):
        sampler(option).prepare(vae("posterior=vmf"))


@pytest.mark.parametrize("option", FITTED)
def test_codes_that_are_too_few_or_not_finite_are_refused(sampler, option):
    for codes in (CODES[:1], CODES * math.nan):
        with pytest.raises(ValueError, match="too few or not finite"):
            sampler(option).fit(codes)


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
    ],
)
def test_an_impossible_setting_is_refused(sampler, setting):
    option, value = setting.split()
    word = f"++sampler.{value}"  # also those that the file does not name
    with pytest.raises(ValueError, match=f"sampler.{value.split('=')[0]}="):
        sampler(option, word).fit(CODES)
