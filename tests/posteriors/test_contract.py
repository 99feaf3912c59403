"""What base.py promises, for every file of conf/posterior."""

import math

import pytest
import torch
from conftest import options
from torch.distributions import kl_divergence

from vaelab.distributions.codebook import UniformIndices, codes_constraint
from vaelab.distributions.one_hot import OneHotBlocks
from vaelab.distributions.sphere import UniformSphere, sphere
from vaelab.objectives.base import closed_form_kl, sample_with_kl, sample_with_log_prob
from vaelab.priors.categorical import CategoricalPrior
from vaelab.priors.normal import UnitNormal

OPTIONS = options("posterior")
DENSITIES = sorted({*OPTIONS} - {"deterministic"})
CODES = {"vq"}  # all probability at codes, so a probability and no density
PLANE = sorted({*DENSITIES} - {"vmf", "gumbel"} - CODES)  # gumbel has probabilities too
CUT = {"vq": ["posterior.dim=1"]}  # into any number of codes


@pytest.fixture
def posterior(part):
    def make(option, latent_dim, *settings):
        settings = [*CUT.get(option, []), *settings]
        if option == "gumbel":
            settings.append(f"posterior.categories={latent_dim}")
        posterior = part(f"posterior={option}", *settings)(latent_dim).double()
        posterior.eval()  # a training step moves a codebook
        for weight in posterior.parameters():  # a flow that bends visibly
            weight.data.mul_(2.0)
        return posterior

    return make


def outputs(posterior, *size):
    return torch.randn(*size, posterior.inputs).double()


def prior_of(posterior, latent_dim):
    zeros = torch.zeros(latent_dim).double()
    if posterior.support is codes_constraint:
        return posterior.prior_on_z(UniformIndices(zeros, posterior.codes))
    if isinstance(posterior.support, OneHotBlocks):
        _, categories, normal = posterior.support.sizes
        return CategoricalPrior(latent_dim, (1,), categories, normal).double()(lambda x: x)
    return UniformSphere(zeros) if posterior.support is sphere else unit(latent_dim)


def unit(latent_dim):
    return UnitNormal(latent_dim, (1,)).double()(lambda x: x)


@pytest.mark.parametrize("option", OPTIONS)
def test_shapes(posterior, option):
    posterior = posterior(option, 3)
    q = posterior(outputs(posterior, 5))
    assert (q.batch_shape, q.event_shape) == ((5,), (3,))
    assert q.rsample().shape == q.sample().shape == (5, 3)
    assert q.rsample(torch.Size([2])).shape == (2, 5, 3)
    if posterior.density:
        z, log_q = sample_with_log_prob(q, 4)
        assert (z.shape, log_q.shape) == ((4, 5, 3), (4, 5))
        z, kl = sample_with_kl(q, prior_of(posterior, 3))
        assert z.shape == (5, 3)
        assert kl.shape in ((5, 3), (5, 1))


@pytest.mark.parametrize("option", DENSITIES)
def test_log_q_of_a_draw_is_the_log_prob_of_its_z(posterior, option):
    posterior = posterior(option, 4)
    q = posterior(outputs(posterior, 6))
    z, log_q = sample_with_log_prob(q, 3)
    torch.testing.assert_close(q.log_prob(z), log_q, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("option", PLANE)
def test_log_q_integrates_to_one_on_a_line(posterior, option):
    posterior = posterior(option, 1)
    q = posterior(outputs(posterior, 1))
    z = torch.linspace(-40, 40, 40_001).double().reshape(-1, 1, 1)
    total = torch.trapezoid(q.log_prob(z).exp().squeeze(), z.squeeze())
    assert total.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("option", PLANE)
def test_log_q_integrates_to_one_on_the_plane_and_its_draws_follow_it(posterior, option):
    """E[q(z)] over draws is the integral of q^2 over the plane."""
    posterior = posterior(option, 2)
    q, points = posterior(outputs(posterior, 1)), 121 if option == "naf" else 241
    with torch.no_grad():
        z, log_q = sample_with_log_prob(q, 10_000)
        low, high = z[:, 0].min(0).values - 1, z[:, 0].max(0).values + 1
        ends = zip(low.tolist(), high.tolist(), strict=True)
        axes = [torch.linspace(*each, points).double() for each in ends]
        grid = torch.cartesian_prod(*axes).unsqueeze(1)
        p = q.log_prob(grid).exp().reshape(points, points)
    total = torch.trapezoid(torch.trapezoid(p, axes[1]), axes[0])
    assert total.item() == pytest.approx(1, abs=0.01)
    expected = torch.trapezoid(torch.trapezoid(p.square(), axes[1]), axes[0]).item()
    error = log_q.exp().std().item() / 100
    assert log_q.exp().mean().item() == pytest.approx(expected, abs=4.5 * error + 0.01 * expected)


@pytest.mark.parametrize("option", DENSITIES)
def test_the_closed_divergence_is_the_mean_of_the_sampled_one(posterior, option):
    posterior = posterior(option, 3)
    q, p = posterior(outputs(posterior, 1)), prior_of(posterior, 3)
    closed = closed_form_kl(q, p)
    if option in ("iaf", "naf", "planar"):
        assert closed is None
        return
    z, log_q = sample_with_log_prob(q, 100_000)
    sampled = log_q - p.log_prob(z)
    error = sampled.std().item() / math.sqrt(len(sampled))
    assert closed.sum().item() == pytest.approx(sampled.mean().item(), abs=4 * error + 1e-9)
    torch.testing.assert_close(kl_divergence(q, p), closed.sum(-1))


@pytest.mark.parametrize("option", PLANE)
def test_its_reparameterised_gradient_is_that_of_the_expectation(posterior, option):
    """d/d out E[|z|^2], against central differences with the same noise."""
    posterior = posterior(option, 2)
    out = outputs(posterior, 1).requires_grad_()

    def expectation(out):
        torch.manual_seed(0)
        return posterior(out).rsample(torch.Size([50])).square().sum(-1).mean()

    assert torch.autograd.gradcheck(expectation, out, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("option", sorted({*DENSITIES} - CODES))
def test_log_q_of_any_z_has_its_gradient(posterior, option):
    posterior = posterior(option, 2)
    out, z = outputs(posterior, 1).requires_grad_(), torch.randn(3, 1, 2).double()
    if posterior.support is sphere:
        z = torch.nn.functional.normalize(z, dim=-1)
    z.requires_grad_(option != "vmf")  # whose density off the sphere has no meaning
    step = 1e-3 if option == "naf" else 1e-6  # its inverse is found by bisection
    assert torch.autograd.gradcheck(
        lambda out, z: posterior(out).log_prob(z), (out, z), eps=step, atol=2e-3, rtol=1e-2
    )


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_outputs_give_finite_values_and_gradients(part, option, size):
    posterior = part(f"posterior={option}", *CUT.get(option, []))(20)
    out = (size * torch.randn(30, posterior.inputs)).requires_grad_()
    q = posterior(out)
    total = q.rsample().sum()
    if posterior.density:
        plane = option in PLANE
        p = UnitNormal(20, (1,))(lambda x: x) if plane else prior_of(posterior, 20)
        _, kl = sample_with_kl(q, p)
        _, log_q = sample_with_log_prob(q, 2)
        assert torch.isfinite(kl).all()
        assert torch.isfinite(log_q).all()
        total = total + kl.sum() + log_q.sum()
    total.backward()
    assert torch.isfinite(out.grad).all()


@pytest.mark.parametrize("option", sorted({*DENSITIES} - {"iaf", "naf"}))
def test_float32_has_the_digits_for_any_z_where_it_is_said_to(part, option):
    posterior = part(f"posterior={option}", *CUT.get(option, []))(10)
    assert posterior.exact_density
    out = torch.randn(20, posterior.inputs)
    z = posterior(out).sample()
    exact = posterior.double()(out.double()).log_prob(z.double().unsqueeze(1))
    found = posterior.float()(out).log_prob(z.unsqueeze(1))
    seen = exact > exact.diagonal().min() - 100
    torch.testing.assert_close(found[seen].double(), exact[seen], rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("option", ["iaf", "naf"])
def test_a_vampprior_of_posteriors_that_cannot_be_turned_back_exactly_is_refused(config, option):
    from vaelab.runs.run import Run

    with pytest.raises(ValueError, match=r"rounding errors.* set another prior="):
        Run.build(config(f"posterior={option}", "prior=vamp"))


@pytest.mark.parametrize("option", ["iaf", "naf"])
def test_the_order_turns_round_so_that_every_component_may_follow_every_other(posterior, option):
    posterior = posterior(option, 3, "posterior.transforms=2")
    out = outputs(posterior, 1)

    def flow(noise):
        q = posterior(out)
        return q.transform.inv(q.base.mean + noise)

    slopes = torch.autograd.functional.jacobian(flow, torch.zeros(1, 3).double())[0, :, 0]
    assert slopes.triu(1).abs().max() > 1e-9
    assert slopes.tril(-1).abs().max() > 1e-9


@pytest.mark.parametrize("option", OPTIONS)
def test_it_is_float32_under_bf16_autocast(config, option):
    from vaelab.runs.run import Run

    prior = {"vmf": "sphere", "vq": "codes", "gumbel": "categorical"}.get(option, "normal")
    objective = {"deterministic": "autoencoder", "vq": "vq"}.get(option, "elbo")
    choices = [f"posterior={option}", f"prior={prior}", f"objective={objective}"]
    choices += ["posterior.categories=3"] if option == "gumbel" else CUT.get(option, [])
    run = Run.build(config(*choices, "model.hidden=[8]", "latent_dim=3"))
    x, y = torch.rand(4, 1, 28, 28).round(), torch.zeros(4, 0)
    with torch.autocast("cpu", torch.bfloat16):
        terms = run.module.terms((x, y))
    assert all(term.dtype == torch.float32 for term in terms.values())
    terms["loss"].mean().backward()
    for name, weight in run.vae.named_parameters():
        assert weight.grad is None or weight.grad.dtype == torch.float32, name
        assert weight.grad is None or torch.isfinite(weight.grad).all(), name


def test_a_point_has_no_density(posterior):
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
def test_an_impossible_setting_is_refused(part, option, setting):
    with pytest.raises(ValueError, match=rf"posterior\.{setting}"):
        part(f"posterior={option}", f"posterior.{setting}")(3)


def test_a_sphere_of_one_dimension_is_refused(part):
    with pytest.raises(ValueError, match="latent_dim=1: posterior=vmf needs at least 2"):
        part("posterior=vmf")(1)


def test_every_output_of_a_planar_flow_moves_its_density(posterior):
    posterior = posterior("planar", 3, "posterior.transforms=2")
    out = outputs(posterior, 1).requires_grad_()
    posterior(out).log_prob(torch.randn(1, 3).double()).backward()
    assert (out.grad.abs() > 1e-9).all()


def test_a_concentration_is_that_of_softplus_and_has_an_end(part):
    posterior = part("posterior=vmf")(3)
    out = torch.tensor([[1.0, 0, 0, 5.0], [1.0, 0, 0, 1e9]])
    expected = torch.tensor([1 + math.log1p(math.exp(5.0)), 1 + 1e5])
    torch.testing.assert_close(posterior(out).concentration, expected, rtol=1e-4, atol=0)
