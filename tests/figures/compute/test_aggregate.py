import math

import numpy as np
import pytest
import torch
from tiny import BOTTOM_UP, GUMBEL, LADDER, PLANE, SPHERE, TINY, VQ

from vaelab.figures.compute.aggregate import (
    compute_aggregate_panels,
    compute_aggregate_plane,
    compute_code_usage,
    compute_sample_range,
    get_prior_marginal,
)
from vaelab.figures.compute.base import FigureNotApplicable, encode_images
from vaelab.figures.compute.dimensions import rank_dimensions
from vaelab.figures.draw.aggregate import FrequencyPanel, MarginalPanel


def encode_test_images(run):
    return encode_images(run.vae, run.data, run.data.splits["test"])


def compute_panels(run):
    encoded = encode_test_images(run)
    return encoded, compute_aggregate_panels(
        run.vae, encoded, rank_dimensions(run.vae, encoded, {})
    )


PRIORS = {
    "normal": (),
    "mixture": ("prior=mixture",),
    "vamp": ("prior=vamp", "prior.components=5"),
    "full vamp": ("prior=vamp", "prior.components=5", "posterior=full"),
}


@pytest.mark.parametrize("words", PRIORS.values(), ids=PRIORS)
def test_prior_marginal_of_one_dimension_is_the_prior_density(run, words):
    vae = run("model.hidden=[8]", "latent_dim=1", *words).vae.eval()
    if "prior=mixture" in words:
        torch.nn.init.normal_(vae.prior.logits)
    z = torch.linspace(-3, 3, 50)
    with torch.no_grad():
        p = vae.latents()
        torch.testing.assert_close(get_prior_marginal(p, 0).log_prob(z), p.log_prob(z[:, None]))


@pytest.mark.parametrize("words", PRIORS.values(), ids=PRIORS)
def test_prior_marginal_has_the_moments_of_prior_samples(run, words):
    vae = run(*TINY, *words).vae.eval()
    with torch.no_grad():
        p = vae.latents()
        samples = p.sample(torch.Size([20_000]))[:, 1]
        marginal = get_prior_marginal(p, 1)
    error = samples.std().item() / math.sqrt(20_000)
    assert marginal.mean.item() == pytest.approx(samples.mean().item(), abs=5 * error)
    assert marginal.variance.item() == pytest.approx(samples.var().item(), rel=0.1)


def test_label_conditional_prior_is_averaged_over_labels(run):
    vae = run("model=conditional", *TINY, "model.learned_prior=true").vae
    with torch.no_grad():
        vae.prior.parameters_of.weight[0, :2] = torch.tensor([-4.0, 4.0])  # the mean, by class
        p = vae.condition_on(torch.tensor([0, 1, 1, 1])).latents()
    marginal = get_prior_marginal(p, 0)
    assert marginal.mean.item() == pytest.approx(2)
    density = marginal.log_prob(torch.tensor([-4.0, 4.0])).exp()
    assert (density[1] / density[0]).item() == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize("words", [SPHERE, LADDER, BOTTOM_UP, (*TINY, "prior=flow")])
def test_panels_without_known_marginal_have_prior_samples(run, words):
    _, panels = compute_panels(run(*words))
    assert all(isinstance(panel, MarginalPanel) and panel.density is None for panel in panels)
    assert all(len(panel.p) == 2000 for panel in panels)


def test_panels_of_real_dimensions_have_samples_and_normal_density(run):
    run = run(*TINY)
    encoded, panels = compute_panels(run)
    order = encoded.modes.var(0).argsort(descending=True)
    for index, panel in zip(order.tolist(), panels, strict=True):
        assert isinstance(panel, MarginalPanel)
        assert np.array_equal(panel.q, encoded.samples[:, index].numpy())
        exact = np.exp(-0.5 * panel.points**2) / math.sqrt(2 * math.pi)
        np.testing.assert_allclose(panel.density, exact, rtol=1e-4)


def test_panels_of_categorical_variables_are_frequencies(run):
    encoded, panels = compute_panels(run(*GUMBEL))
    categorical = {panel.name[:5]: panel for panel in panels if isinstance(panel, FrequencyPanel)}
    assert sorted(categorical) == ["$c_{1", "$c_{2"]
    second = categorical["$c_{2"]
    assert second.q == pytest.approx(encoded.samples[:, 4:8].mean(0).numpy())
    assert second.p == pytest.approx(0.25)
    real = [panel for panel in panels if isinstance(panel, MarginalPanel)]
    assert len(real) == 2
    assert all(panel.density is not None for panel in real)


def test_code_usage_counts_indices(run):
    run = run(*VQ)
    encoded = encode_test_images(run)
    usage = compute_code_usage(run.vae, encoded)
    q = run.vae.encode(run.data.prepare(encoded.split.images))
    counts = q.indices.flatten().bincount(minlength=6)
    assert usage.q == pytest.approx((counts / counts.sum()).numpy())
    assert usage.p == pytest.approx(1 / 6)


def test_code_usage_of_learned_prior_comes_from_its_samples(run):
    run = run(*VQ, "prior=pixelcnn", "prior.channels=4")
    usage = compute_code_usage(run.vae, encode_test_images(run))
    assert usage.p.sum() == pytest.approx(1)
    assert len({*usage.p.tolist()}) > 1


def test_aggregate_plane_has_the_prior_density_at_its_coordinates(run):
    run = run(*PLANE, "prior=mixture", "prior.components=2")
    with torch.no_grad():
        run.vae.prior.means.copy_(torch.tensor([[2.0, -1.0], [-2.0, 1.0]]))
    plane = compute_aggregate_plane(run.vae, encode_test_images(run))
    row, column = 70, 20  # z_2 and z_1
    z = torch.tensor([[plane.axis[column], plane.axis[row]]])
    exact = run.vae.latents().log_prob(z).exp().item()
    assert plane.density[row, column] == pytest.approx(exact, rel=1e-4)
    step = plane.axis[1] - plane.axis[0]
    assert plane.density.sum() * step**2 == pytest.approx(1, abs=0.05)


def test_aggregate_plane_needs_two_real_dimensions_and_one_density(run):
    circle = ("model.hidden=[8]", "latent_dim=2", "posterior=vmf")
    labelled = ("model=conditional", *PLANE, "model.learned_prior=true")
    for words in (TINY, circle, labelled):
        built = run(*words)
        with pytest.raises(FigureNotApplicable):
            compute_aggregate_plane(built.vae, encode_test_images(built))


def test_sample_range_covers_nearly_all_samples_and_is_never_empty():
    low, high = compute_sample_range(torch.linspace(0, 1, 1001), torch.linspace(-1, 0, 1001))
    assert (low, high) == pytest.approx((-0.998, 0.998))
    assert compute_sample_range(torch.full((9,), 2.0)) == (1.5, 2.5)
