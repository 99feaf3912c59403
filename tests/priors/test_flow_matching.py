"""Test prior=flow_matching and prior=diffusion: loss, training, density, guidance, refusals."""

import math
from typing import Any

import pytest
import torch
from conftest import slow
from torch.distributions import Normal

from vaelab.distributions.grid import grid_to_vector, vector_to_grid
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.diffusion import Diffusion
from vaelab.priors.flow_matching import FlowMatching
from vaelab.priors.velocity import GridNetwork, count_halvings
from vaelab.runs.run import RunParts
from vaelab.samplers.prior import PriorSampler

BOTH = [FlowMatching, Diffusion]
SMALL: dict[str, Any] = {"width": 32, "blocks": 1}
WORDS = ["prior.width=16", "prior.blocks=1", "prior.ode_steps=3", "prior.repeats=2"]
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 1.0]])


def make(kind, latent_dim, latent_shape=None, **settings):
    """Build a prior for vectors, or for feature maps of a shape (c, h, w)."""
    prior = kind(latent_dim, (), **{**SMALL, **settings})
    prior.latent_shape = latent_shape or prior.latent_shape
    prior.prepare(Diagonal(latent_dim))
    return prior


def randomize(prior):
    """Give the output layer of the network random weights, which are 0 before training."""
    torch.nn.init.normal_(prior.network.output.weight, std=0.3)
    return prior


def fit(prior, sample, steps=600, lr=3e-3, labels=None):
    """Train a prior on 256 new latents of `sample(count)` in each step."""
    optimizer = torch.optim.Adam(prior.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    prior.standardize(sample(5000))
    for _ in range(steps):
        z = sample(256)
        optimizer.zero_grad()
        prior.compute_loss(z, labels and labels(z)).mean().backward()
        optimizer.step()
        schedule.step()
    return prior


@pytest.mark.parametrize("kind", BOTH)
def test_untrained_prior_is_the_normal_with_the_moments_of_the_latents(kind):
    z = torch.randn(500, 3) * torch.tensor([1.0, 0.1, 4.0]) + 2
    prior = make(kind, 3)
    prior.standardize(z)
    p, expected = prior(None), Normal(z.mean(0), z.std(0))
    with torch.no_grad():
        torch.testing.assert_close(
            p.log_prob(z), expected.log_prob(z).sum(-1), atol=0.05, rtol=1e-3
        )
        noise = torch.randn(5, 3)
        moved = p.transport(noise)
    torch.testing.assert_close(moved, z.mean(0) + z.std(0) * noise, atol=0.02, rtol=0.01)


@pytest.mark.parametrize("kind", BOTH)
def test_loss_has_its_minimum_at_the_exact_velocity(kind):
    """For u ~ N(0, I) the untrained velocity is exact, and its loss is the conditional variance.

    The variance is 2 / s with s = 2 t^2 - 2 t + 1 for flow matching, whose mean over t is pi, and
    2 (pi/2)^2 for the diffusion at every t.
    """
    prior = make(kind, 2, repeats=4)
    with torch.no_grad():
        least = prior.compute_loss(torch.randn(5000, 2)).mean().item()
        randomize(prior)
        other = prior.compute_loss(torch.randn(5000, 2)).mean().item()
    assert least == pytest.approx(math.pi if kind is FlowMatching else math.pi**2 / 2, rel=0.03)
    assert other > 1.04 * least


@pytest.mark.parametrize("kind", BOTH)
def test_velocity_of_the_path_is_its_derivative(kind):
    prior, (u, noise) = make(kind, 3).double(), torch.randn(2, 4, 3).double()
    t = torch.linspace(0, 1, 4).double().unsqueeze(-1)
    later, earlier = (prior.interpolate(u, noise, t + step)[0] for step in (1e-5, -1e-5))
    torch.testing.assert_close(prior.interpolate(u, noise, t)[1], (later - earlier) / 2e-5)
    torch.testing.assert_close(prior.interpolate(u, noise, torch.ones(4, 1))[0], u)
    torch.testing.assert_close(
        prior.interpolate(u, noise, torch.zeros(4, 1))[0].float(), noise.float()
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOTH)
def test_trained_density_is_that_of_correlated_normal_latents(kind):
    root = torch.linalg.cholesky(COVARIANCE)
    prior = fit(make(kind, 2), lambda count: torch.randn(count, 2) @ root.T)
    expected = torch.distributions.MultivariateNormal(torch.zeros(2), COVARIANCE)
    z = expected.sample((2000,))
    with torch.no_grad():
        difference = expected.log_prob(z) - prior(None).log_prob(z)
        samples = prior(None).sample((20_000,))
    assert difference.mean().item() == pytest.approx(0, abs=0.02)
    torch.testing.assert_close(samples.T.cov(), COVARIANCE, atol=0.05, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOTH)
def test_density_of_a_trained_network_integrates_to_one_and_samples_follow_it(kind):
    """Latents of two modes, so that the density is far from a normal."""

    def sample(count):
        return 0.3 * torch.randn(count, 2) + torch.randint(0, 2, (count, 1)) * 2 - 1

    prior = fit(make(kind, 2), sample)
    axis = torch.linspace(-3, 3, 101)
    with torch.no_grad():
        p = prior(None)
        density = p.log_prob(torch.cartesian_prod(axis, axis)).exp().reshape(101, 101)
        values = p.log_prob(p.sample((5000,))).exp()
    total = torch.trapezoid(torch.trapezoid(density, axis), axis).item()
    assert total == pytest.approx(1, abs=0.01)
    expected = torch.trapezoid(torch.trapezoid(density.square(), axis), axis).item()
    error = values.std().item() / math.sqrt(len(values))
    assert values.mean().item() == pytest.approx(expected, abs=4.5 * error + 0.02 * expected)
    assert expected > 2 / (4 * math.pi * 0.09 * 2) * 0.4  # of the true density: two separate modes


@pytest.mark.parametrize("kind", BOTH)
def test_guidance_is_the_conditional_network_at_weight_1_and_ignores_labels_at_0(kind):
    u, t, y = torch.randn(6, 3), torch.tensor(0.4), torch.tensor([0, 1, 2, 3, 0, 1])
    prior = randomize(make(kind, 3, classes=4))
    conditional, plain = prior.predict(u, t.reshape(1), y), prior.predict(u, t.reshape(1), None)
    assert not torch.allclose(conditional, plain)
    assert torch.equal(prior.velocity(u, t, y), conditional)
    prior.guidance = 0.0
    assert torch.equal(prior.velocity(u, t, y), plain)
    prior.guidance = 3.0
    expected = plain + 3 * (conditional - plain)
    torch.testing.assert_close(prior.velocity(u, t, y), expected)


def test_samplers_change_guidance_and_steps_of_a_view_only(config):
    words = ["prior=flow_matching", "objective=prior", "model.hidden=[8]", *WORDS]
    vae = RunParts.build(config(*words, "prior.classes=10")).vae.eval()
    randomize(vae.prior)
    y = torch.arange(10)
    samples = {}
    for settings in ((None, None), (1.0, 3), (2.0, None), (None, 5)):
        sampler = PriorSampler(guidance=settings[0], ode_steps=settings[1])
        sampler.prepare(vae)
        torch.manual_seed(1)
        samples[settings] = sampler.sample(10, y)
    first, *others = samples.values()
    assert [torch.equal(first, other) for other in others] == [True, False, False]
    assert (vae.prior.guidance, vae.prior.settings.steps) == (1.0, 3)


def test_settings_of_samples_are_refused_where_they_have_no_effect(config):
    normal = RunParts.build(config("model.hidden=[8]")).vae
    with pytest.raises(ValueError, match="the prior of this run is UnitNormal: leave them out"):
        PriorSampler(ode_steps=5).prepare(normal)
    with pytest.raises(ValueError, match=r"sampler\.guidance=2.0: the prior .* has no classes"):
        make(FlowMatching, 2).configure_sampling(2.0, None)
    with pytest.raises(ValueError, match=r"sampler\.ode_steps=0: it must be at least 1"):
        make(FlowMatching, 2).configure_sampling(None, 0)


@pytest.mark.slow
def test_labels_select_their_latents_and_guidance_moves_samples_apart():
    def sample(count):
        return torch.randn(count, 1) + torch.randint(0, 2, (count, 1)) * 4 - 2

    prior = fit(make(FlowMatching, 1, classes=2), sample, labels=lambda z: (z > 0).long()[:, 0])
    y = torch.tensor([0, 1]).repeat(2000)
    weak, strong = [], []
    for means, guidance in ((weak, 1.0), (strong, 3.0)):
        prior.guidance = guidance
        z = prior.condition_on(y).sample()[:, 0]
        assert ((z > 0) == y).float().mean() > 0.95
        means += [z[y == 0].mean().item(), z[y == 1].mean().item()]
    assert strong[0] < weak[0] < 0 < weak[1] < strong[1]


@pytest.mark.parametrize("grid", [(2, 8, 8), (3, 7, 5), (1, 16, 4)])
def test_grid_network_takes_any_grid_and_sees_all_of_it(grid):
    network = GridNetwork(grid, 8, 1, classes=2)
    torch.nn.init.normal_(network.output.weight)
    u = torch.randn(2, math.prod(grid), requires_grad=True)
    out = network(u, torch.tensor([0.3]), torch.tensor([0, 1]))
    assert out.shape == u.shape
    out[:, 0].sum().backward()
    assert (u.grad != 0).all()


def test_grids_are_halved_to_edges_of_at_least_4():
    assert [count_halvings(edges) for edges in ((7, 7), (8, 8), (16, 32), (14, 14), (4, 4))] == [
        0,
        1,
        2,
        1,
        0,
    ]


def test_latents_of_a_grid_are_standardized_by_channel():
    prior = make(FlowMatching, 2 * 4 * 4, (2, 4, 4), channels=8)
    z = torch.randn(100, 2, 4, 4) * torch.tensor([1.0, 5.0])[:, None, None] + 3
    prior.standardize(grid_to_vector(z, (2, 4, 4)))
    scale = vector_to_grid(prior.scale, (2, 4, 4))
    torch.testing.assert_close(scale, z.std((0, 2, 3))[:, None, None].expand(2, 4, 4))


def test_constant_dimension_keeps_the_scale_1():
    prior = make(FlowMatching, 2)
    prior.standardize(torch.stack([torch.randn(50), torch.full((50,), 3.0)], 1))
    assert prior.scale[1] == 1
    assert prior.mean[1] == 3


@pytest.mark.parametrize("prior", ["flow_matching", *slow("diffusion")])
def test_joint_training_is_refused(config, prior):
    with pytest.raises(ValueError, match=r"loss of its own .* objective=prior start=<run>"):
        RunParts.build(config(f"prior={prior}"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prior.classes=10", "model=conditional"], "leave prior.classes out"),
        (["posterior=vmf"], "posterior lives on"),
    ],
)
def test_unusable_combinations_are_refused(config, words, message):
    with pytest.raises(ValueError, match=message):
        RunParts.build(config("prior=flow_matching", "objective=prior", *words))


@pytest.mark.parametrize(
    "settings",
    [{"drop": 2}, {"guidance": -1}, {"ode_steps": 0}, {"classes": 0}],
)
def test_settings_out_of_range_are_refused(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=rf"prior\.{name}="):
        FlowMatching(20, (), **settings)


def test_second_run_trains_the_prior_alone_and_samples_by_label(train):
    first = train("model.hidden=[8]", "latent_dim=3", folder="first")
    words = ["model.hidden=[8]", "latent_dim=3", "prior=flow_matching", "prior.classes=10", *WORDS]
    words += ["objective=prior", "callbacks=[default,ema]", f"start={first['folder']}"]
    second = train(*words, folder="second")
    assert math.isfinite(second["elbo"])
    assert second["monitor"] == "val/objective"
    assert math.isfinite(second["nll"])  # exact for 3 latent dimensions
    run = RunParts.open(second["folder"])
    before = RunParts.open(first["folder"]).vae.state_dict()
    after = run.vae.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not torch.equal(run.vae.prior.scale, torch.ones(3))


@pytest.mark.slow
def test_deterministic_latents_can_be_used(train):
    words = ["model.hidden=[8]", "latent_dim=3", "posterior=deterministic"]
    first = train(*words, "objective=autoencoder", folder="first")
    words += ["prior=flow_matching", *WORDS, "objective=prior", f"start={first['folder']}"]
    second = train(*words, folder="second")
    assert "elbo" not in second
    assert math.isfinite(second["reconstruction"])


@pytest.mark.slow
def test_hutchinson_gives_an_elbo_but_no_nll(train):
    first = train("model.hidden=[8]", "latent_dim=3", folder="first")
    words = ["model.hidden=[8]", "latent_dim=3", "prior=diffusion", *WORDS]
    words += ["prior.trace=hutchinson", "objective=prior", f"start={first['folder']}"]
    second = train(*words, folder="second")
    assert math.isfinite(second["elbo"])
    assert "nll" not in second
    assert second["density_warning"].startswith("the ELBO is an estimate, and there is no NLL")
