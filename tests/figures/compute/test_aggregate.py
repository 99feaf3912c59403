import math

import numpy as np
import pytest
import torch
from tiny import BOTTOM_UP, GUMBEL, LADDER, PLANE, SPHERE, TINY, VQ

from vaelab.figures.compute.aggregate import (
    compute_code_usage,
    compute_panels,
    compute_plane,
    prior_marginal,
    sample_range,
)
from vaelab.figures.compute.base import FigureNotApplicable, encode_images
from vaelab.figures.compute.dimensions import rank_dimensions
from vaelab.figures.draw.aggregate import MarginalPanel, SharesPanel


def codes_of(run):
    return encode_images(run.vae, run.data, run.data.splits["test"])


def panels_of(run):
    codes = codes_of(run)
    return codes, compute_panels(run.vae, codes, rank_dimensions(run.vae, codes, {}))


PRIORS = {
    "normal": (),
    "mixture": ("prior=mixture",),
    "vamp": ("prior=vamp", "prior.components=5"),
    "full vamp": ("prior=vamp", "prior.components=5", "posterior=full"),
}


@pytest.mark.parametrize("words", PRIORS.values(), ids=PRIORS)
def test_the_marginal_of_one_dimension_is_the_density_itself(run, words):
    vae = run("model.hidden=[8]", "latent_dim=1", *words).vae.eval()
    if "prior=mixture" in words:
        torch.nn.init.normal_(vae.prior.logits)
    z = torch.linspace(-3, 3, 50)
    with torch.no_grad():
        p = vae.latents()
        torch.testing.assert_close(prior_marginal(p, 0).log_prob(z), p.log_prob(z[:, None]))


@pytest.mark.parametrize("words", PRIORS.values(), ids=PRIORS)
def test_a_marginal_has_the_moments_of_the_draws(run, words):
    vae = run(*TINY, *words).vae.eval()
    with torch.no_grad():
        p = vae.latents()
        draws = p.sample(torch.Size([20_000]))[:, 1]
        found = prior_marginal(p, 1)
    error = draws.std().item() / math.sqrt(20_000)
    assert found.mean.item() == pytest.approx(draws.mean().item(), abs=5 * error)
    assert found.variance.item() == pytest.approx(draws.var().item(), rel=0.1)


def test_a_prior_of_the_label_is_averaged_over_the_labels(run):
    vae = run("model=conditional", *TINY, "model.learned_prior=true").vae
    with torch.no_grad():
        vae.prior.parameters_of.weight[0, :2] = torch.tensor([-4.0, 4.0])  # the mean, by class
        p = vae.condition_on(torch.tensor([0, 1, 1, 1])).latents()
    found = prior_marginal(p, 0)
    assert found.mean.item() == pytest.approx(2)
    at = found.log_prob(torch.tensor([-4.0, 4.0])).exp()
    assert (at[1] / at[0]).item() == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize("words", [SPHERE, LADDER, BOTTOM_UP, (*TINY, "prior=flow")])
def test_where_there_is_no_marginal_its_draws_are_given(run, words):
    _, found = panels_of(run(*words))
    assert all(isinstance(each, MarginalPanel) and each.density is None for each in found)
    assert all(len(each.p) == 2000 for each in found)


def test_numbers_are_the_draws_of_their_dimension(run):
    run = run(*TINY)
    codes, found = panels_of(run)
    order = codes.likeliest.var(0).argsort(descending=True)
    for place, each in zip(order.tolist(), found, strict=True):
        assert isinstance(each, MarginalPanel)
        assert np.array_equal(each.q, codes.drawn[:, place].numpy())
        exact = np.exp(-0.5 * each.points**2) / math.sqrt(2 * math.pi)
        np.testing.assert_allclose(each.density, exact, rtol=1e-4)


def test_categories_are_shares_and_the_numbers_beside_them_have_their_density(run):
    codes, found = panels_of(run(*GUMBEL))
    shares = {each.name[:5]: each for each in found if isinstance(each, SharesPanel)}
    assert sorted(shares) == ["$c_{1", "$c_{2"]
    second = shares["$c_{2"]
    assert second.q == pytest.approx(codes.drawn[:, 4:8].mean(0).numpy())
    assert second.p == pytest.approx(0.25)
    numbers = [each for each in found if isinstance(each, MarginalPanel)]
    assert len(numbers) == 2
    assert all(each.density is not None for each in numbers)


def test_the_usage_of_a_codebook_is_counted(run):
    run = run(*VQ)
    codes = codes_of(run)
    found = compute_code_usage(run.vae, codes)
    q = run.vae.encode(run.data.prepare(codes.split.images))
    counts = q.indices.flatten().bincount(minlength=6)
    assert found.q == pytest.approx((counts / counts.sum()).numpy())
    assert found.p == pytest.approx(1 / 6)


def test_the_usage_of_a_learned_prior_is_that_of_its_draws(run):
    run = run(*VQ, "prior=pixelcnn", "prior.channels=4")
    found = compute_code_usage(run.vae, codes_of(run))
    assert found.p.sum() == pytest.approx(1)
    assert len({*found.p.tolist()}) > 1


def test_a_plane_has_the_density_of_the_prior_where_it_says(run):
    run = run(*PLANE, "prior=mixture", "prior.components=2")
    with torch.no_grad():
        run.vae.prior.means.copy_(torch.tensor([[2.0, -1.0], [-2.0, 1.0]]))
    found = compute_plane(run.vae, codes_of(run))
    row, column = 70, 20  # z_2 and z_1
    z = torch.tensor([[found.axis[column], found.axis[row]]])
    exact = run.vae.latents().log_prob(z).exp().item()
    assert found.density[row, column] == pytest.approx(exact, rel=1e-4)
    step = found.axis[1] - found.axis[0]
    assert found.density.sum() * step**2 == pytest.approx(1, abs=0.05)


def test_there_is_one_plane_only_for_two_real_dimensions(run):
    circle = ("model.hidden=[8]", "latent_dim=2", "posterior=vmf")
    labelled = ("model=conditional", *PLANE, "model.learned_prior=true")
    for words in (TINY, circle, labelled):
        chosen = run(*words)
        with pytest.raises(FigureNotApplicable):
            compute_plane(chosen.vae, codes_of(chosen))


def test_ends_hold_nearly_all_draws_and_never_meet():
    low, high = sample_range(torch.linspace(0, 1, 1001), torch.linspace(-1, 0, 1001))
    assert (low, high) == pytest.approx((-0.998, 0.998))
    assert sample_range(torch.full((9,), 2.0)) == (1.5, 2.5)
