"""The contract of base.py, tested for every option in conf/posterior."""

import math

import pytest
import torch
from conftest import options
from torch.distributions import kl_divergence

from vaelab.distributions.codebook import UniformIndices, codebook_constraint
from vaelab.distributions.one_hot import OneHotConstraint
from vaelab.distributions.sphere import UniformSphere, sphere_constraint
from vaelab.objectives.base import closed_form_kl, sample_with_kl, sample_with_log_prob
from vaelab.priors.categorical import CategoricalPrior
from vaelab.priors.normal import UnitNormal

OPTIONS = options("posterior")
DENSITIES = sorted({*OPTIONS} - {"deterministic"})
DISCRETE = {"vq", "fsq", "lfq", "residual_vq"}  # a probability on codes and no density
REAL = sorted({*DENSITIES} - {"vmf", "gumbel"} - DISCRETE)  # densities on R^D
SETTINGS = {  # valid for any latent_dim
    "vq": ["posterior.dim=1"],
    "fsq": ["posterior.levels=[5]"],
    "lfq": ["posterior.bits=1"],
    "residual_vq": ["posterior.dim=1", "posterior.depth=1"],
}


@pytest.fixture
def posterior(part):
    def make(option, latent_dim, *settings):
        settings = [*SETTINGS.get(option, []), *settings]
        if option == "gumbel":
            settings.append(f"posterior.categories={latent_dim}")
        posterior = part(f"posterior={option}", *settings)(latent_dim).double()
        posterior.eval()  # so that the codebook is not updated
        for weight in posterior.parameters():  # so that flows are clearly not linear
            weight.data.mul_(2.0)
        return posterior

    return make


def random_outputs(posterior, *size):
    return torch.randn(*size, posterior.inputs).double()


def matching_prior(posterior, latent_dim):
    zeros = torch.zeros(latent_dim).double()
    if posterior.support is codebook_constraint:
        return posterior.prior_on_z(UniformIndices(zeros, posterior.codes))
    if isinstance(posterior.support, OneHotConstraint):
        _, categories, normal = posterior.support.sizes
        return CategoricalPrior(latent_dim, (1,), categories, normal).double()(lambda x: x)
    if posterior.support is sphere_constraint:
        return UniformSphere(zeros)
    return standard_normal(latent_dim)


def standard_normal(latent_dim):
    return UnitNormal(latent_dim, (1,)).double()(lambda x: x)


@pytest.mark.parametrize("option", OPTIONS)
def test_shapes(posterior, option):
    posterior = posterior(option, 3)
    q = posterior(random_outputs(posterior, 5))
    assert (q.batch_shape, q.event_shape) == ((5,), (3,))
    assert q.rsample().shape == q.sample().shape == (5, 3)
    assert q.rsample(torch.Size([2])).shape == (2, 5, 3)
    if posterior.has_density:
        z, log_q = sample_with_log_prob(q, 4)
        assert (z.shape, log_q.shape) == ((4, 5, 3), (4, 5))
        z, kl = sample_with_kl(q, matching_prior(posterior, 3))
        assert z.shape == (5, 3)
        assert kl.shape in ((5, 3), (5, 1))


@pytest.mark.parametrize("option", DENSITIES)
def test_log_q_of_a_sample_agrees_with_log_prob(posterior, option):
    posterior = posterior(option, 4)
    q = posterior(random_outputs(posterior, 6))
    z, log_q = sample_with_log_prob(q, 3)
    torch.testing.assert_close(q.log_prob(z), log_q, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("option", REAL)
def test_density_integrates_to_one_on_the_line(posterior, option):
    posterior = posterior(option, 1)
    q = posterior(random_outputs(posterior, 1))
    z = torch.linspace(-40, 40, 40_001).double().reshape(-1, 1, 1)
    total = torch.trapezoid(q.log_prob(z).exp().squeeze(), z.squeeze())
    assert total.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("option", REAL)
def test_density_integrates_to_one_on_the_plane_and_samples_follow_it(posterior, option):
    """The mean of q(z) over samples must equal the integral of q^2 over the plane."""
    posterior = posterior(option, 2)
    q, points = posterior(random_outputs(posterior, 1)), 121 if option == "naf" else 241
    with torch.no_grad():
        z, log_q = sample_with_log_prob(q, 10_000)
        low, high = z[:, 0].min(0).values - 1, z[:, 0].max(0).values + 1
        ends = zip(low.tolist(), high.tolist(), strict=True)
        axes = [torch.linspace(*limits, points).double() for limits in ends]
        grid = torch.cartesian_prod(*axes).unsqueeze(1)
        p = q.log_prob(grid).exp().reshape(points, points)
    total = torch.trapezoid(torch.trapezoid(p, axes[1]), axes[0])
    assert total.item() == pytest.approx(1, abs=0.01)
    expected = torch.trapezoid(torch.trapezoid(p.square(), axes[1]), axes[0]).item()
    error = log_q.exp().std().item() / 100
    assert log_q.exp().mean().item() == pytest.approx(expected, abs=4.5 * error + 0.01 * expected)


@pytest.mark.parametrize("option", DENSITIES)
def test_closed_form_kl_agrees_with_samples(posterior, option):
    posterior = posterior(option, 3)
    q, p = posterior(random_outputs(posterior, 1)), matching_prior(posterior, 3)
    closed = closed_form_kl(q, p)
    if option in ("iaf", "naf", "planar"):
        assert closed is None
        return
    z, log_q = sample_with_log_prob(q, 100_000)
    sampled = log_q - p.log_prob(z)
    error = sampled.std().item() / math.sqrt(len(sampled))
    assert closed.sum().item() == pytest.approx(sampled.mean().item(), abs=4 * error + 1e-9)
    torch.testing.assert_close(kl_divergence(q, p), closed.sum(-1))


@pytest.mark.parametrize("option", REAL)
def test_reparameterized_gradient_agrees_with_finite_differences(posterior, option):
    """Compare the gradient of E[|z|^2] with central differences for the same noise."""
    posterior = posterior(option, 2)
    out = random_outputs(posterior, 1).requires_grad_()

    def expectation(out):
        torch.manual_seed(0)
        return posterior(out).rsample(torch.Size([50])).square().sum(-1).mean()

    assert torch.autograd.gradcheck(expectation, out, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("option", sorted({*DENSITIES} - DISCRETE))
def test_gradient_of_log_prob_agrees_with_finite_differences(posterior, option):
    posterior = posterior(option, 2)
    out, z = random_outputs(posterior, 1).requires_grad_(), torch.randn(3, 1, 2).double()
    if posterior.support is sphere_constraint:
        z = torch.nn.functional.normalize(z, dim=-1)
    z.requires_grad_(option != "vmf")  # the density is undefined off the sphere
    step = 1e-3 if option == "naf" else 1e-6  # its inverse is computed by bisection
    assert torch.autograd.gradcheck(
        lambda out, z: posterior(out).log_prob(z), (out, z), eps=step, atol=2e-3, rtol=1e-2
    )


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_outputs_give_finite_values_and_gradients(part, option, size):
    posterior = part(f"posterior={option}", *SETTINGS.get(option, []))(20)
    out = (size * torch.randn(30, posterior.inputs)).requires_grad_()
    q = posterior(out)
    total = q.rsample().sum()
    if posterior.has_density:
        is_real = option in REAL
        p = UnitNormal(20, (1,))(lambda x: x) if is_real else matching_prior(posterior, 20)
        _, kl = sample_with_kl(q, p)
        _, log_q = sample_with_log_prob(q, 2)
        assert torch.isfinite(kl).all()
        assert torch.isfinite(log_q).all()
        total = total + kl.sum() + log_q.sum()
    total.backward()
    assert torch.isfinite(out.grad).all()


@pytest.mark.parametrize("option", sorted({*DENSITIES} - {"iaf", "naf"}))
def test_log_prob_of_any_z_is_accurate_in_float32_for_exact_densities(part, option):
    posterior = part(f"posterior={option}", *SETTINGS.get(option, []))(10)
    assert posterior.has_exact_density
    out = torch.randn(20, posterior.inputs)
    z = posterior(out).sample()
    exact = posterior.double()(out.double()).log_prob(z.double().unsqueeze(1))
    log_q = posterior.float()(out).log_prob(z.unsqueeze(1))
    relevant = exact > exact.diagonal().min() - 100
    torch.testing.assert_close(log_q[relevant].double(), exact[relevant], rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("option", ["iaf", "naf"])
def test_vamp_prior_of_posteriors_without_exact_density_is_rejected(config, option):
    from vaelab.runs.run import RunParts

    with pytest.raises(ValueError, match=r"rounding errors.* set another prior="):
        RunParts.build(config(f"posterior={option}", "prior=vamp"))


@pytest.mark.parametrize("option", ["iaf", "naf"])
def test_reversed_order_lets_every_dimension_depend_on_every_other(posterior, option):
    posterior = posterior(option, 3, "posterior.transforms=2")
    out = random_outputs(posterior, 1)

    def flow(noise):
        q = posterior(out)
        return q.transform.inv(q.base.mean + noise)

    slopes = torch.autograd.functional.jacobian(flow, torch.zeros(1, 3).double())[0, :, 0]
    assert slopes.triu(1).abs().max() > 1e-9
    assert slopes.tril(-1).abs().max() > 1e-9


@pytest.mark.parametrize("option", OPTIONS)
def test_terms_are_float32_under_bf16_autocast(config, option):
    from vaelab.runs.run import RunParts

    prior = {"vmf": "sphere", "gumbel": "categorical"} | dict.fromkeys(DISCRETE, "codes")
    objective = {"deterministic": "autoencoder"} | dict.fromkeys(DISCRETE, "vq")
    prior, objective = prior.get(option, "normal"), objective.get(option, "elbo")
    overrides = [f"posterior={option}", f"prior={prior}", f"objective={objective}"]
    overrides += ["posterior.categories=3"] if option == "gumbel" else SETTINGS.get(option, [])
    run = RunParts.build(config(*overrides, "model.hidden=[8]", "latent_dim=3"))
    x, y = torch.rand(4, 1, 28, 28).round(), torch.zeros(4, 0)
    with torch.autocast("cpu", torch.bfloat16):
        terms = run.module.terms((x, y))
    assert all(term.dtype == torch.float32 for term in terms.values())
    terms["loss"].mean().backward()
    for name, weight in run.vae.named_parameters():
        assert weight.grad is None or weight.grad.dtype == torch.float32, name
        assert weight.grad is None or torch.isfinite(weight.grad).all(), name


def test_deterministic_posterior_has_no_density(posterior):
    q = posterior("deterministic", 3)(torch.randn(2, 3).double())
    assert torch.equal(q.rsample(), q.mean)
    with pytest.raises(NotImplementedError):
        q.log_prob(q.mean)


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("full", "bound=0"),
        ("iaf", "transforms=0"),
        ("naf", "sigmoids=0"),
        ("planar", "transforms=0"),
        ("iaf", "context=0"),
    ],
)
def test_setting_out_of_range_is_rejected(part, option, setting):
    with pytest.raises(ValueError, match=rf"posterior\.{setting}"):
        part(f"posterior={option}", f"posterior.{setting}")(3)


def test_vmf_in_one_dimension_is_rejected(part):
    with pytest.raises(ValueError, match="latent_dim=1: posterior=vmf needs at least 2"):
        part("posterior=vmf")(1)


def test_every_output_of_a_planar_flow_affects_the_density(posterior):
    posterior = posterior("planar", 3, "posterior.transforms=2")
    out = random_outputs(posterior, 1).requires_grad_()
    posterior(out).log_prob(torch.randn(1, 3).double()).backward()
    assert (out.grad.abs() > 1e-9).all()


def test_concentration_is_a_bounded_softplus(part):
    posterior = part("posterior=vmf")(3)
    out = torch.tensor([[1.0, 0, 0, 5.0], [1.0, 0, 0, 1e9]])
    expected = torch.tensor([1 + math.log1p(math.exp(5.0)), 1 + 1e5])
    torch.testing.assert_close(posterior(out).concentration, expected, rtol=1e-4, atol=0)
