"""The contract of base.py, tested for every option in conf/prior."""

import math

import pytest
import torch
from conftest import options

from vaelab.distributions.codebook import codebook_constraint
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.sphere import sphere_constraint
from vaelab.posteriors.diagonal import Diagonal
from vaelab.posteriors.vq import VQ
from vaelab.runs.run import RunParts

OPTIONS = options("prior")
DISCRETE = {"codes", "pixelcnn", "transformer"}  # priors over codebook indices
REAL = sorted({*OPTIONS} - {"sphere", "categorical"} - DISCRETE)
SHAPE = (1, 4, 4)
ODE = ("flow_matching", "diffusion")
ODE_SETTINGS = ["prior.width=8", "prior.blocks=1", "prior.ode_steps=4"]


def make_encode(latent_dim):
    """Return a fixed random map from x to q(z|x)."""
    torch.manual_seed(3)
    weight = torch.randn(2 * latent_dim, math.prod(SHAPE)).double()

    def q(x):
        mean, log_scale = (x.flatten(1).double() @ weight.T / 2).chunk(2, -1)
        return DiagonalNormal(mean, log_scale.tanh())

    return q


@pytest.fixture
def prior(part):
    def make(option, latent_dim):
        settings = ["prior.components=7"] if option in ("mixture", "vamp") else []
        settings += ODE_SETTINGS if option in ODE else []
        settings += [f"prior.categories={latent_dim}"] if option == "categorical" else []
        prior = part(f"prior={option}", *settings)(latent_dim, SHAPE)
        posterior = (VQ(latent_dim, 5, 1) if option in DISCRETE else Diagonal(latent_dim)).double()
        prior.prepare(posterior)
        prior.double().initialize(torch.rand(30, *SHAPE).double())
        prior.prior_on_z = posterior.prior_on_z
        return prior

    return make


@pytest.mark.parametrize("option", OPTIONS)
def test_shapes(prior, option):
    prior = prior(option, 3)
    p = prior.prior_on_z(prior(make_encode(3)))
    assert (p.batch_shape, p.event_shape) == ((), (3,))
    z = p.sample((2, 5))
    assert z.shape == (2, 5, 3)
    assert p.log_prob(z).shape == (2, 5)


@pytest.mark.parametrize("option", sorted({*REAL} - {*ODE}))  # these have a test of their own
def test_density_integrates_to_one_and_samples_follow_it(prior, option):
    p = prior(option, 2)(make_encode(2))
    axis = torch.linspace(-12, 12, 601).double()
    with torch.no_grad():
        density = p.log_prob(torch.cartesian_prod(axis, axis)).exp().reshape(601, 601)
        z = p.sample((20_000,))
        values = p.log_prob(z).exp()
    assert torch.trapezoid(torch.trapezoid(density, axis), axis).item() == pytest.approx(
        1, abs=2e-3
    )
    expected = torch.trapezoid(torch.trapezoid(density.square(), axis), axis).item()
    error = values.std().item() / math.sqrt(len(z))
    assert values.mean().item() == pytest.approx(expected, abs=4.5 * error + 2e-3 * expected)


@pytest.mark.parametrize("option", OPTIONS)
def test_parameters_have_finite_gradients_far_from_the_origin(prior, option):
    prior = prior(option, 2)
    z = torch.tensor([[0.0, 1.0], [300.0, -400.0]]).double()
    z = torch.nn.functional.normalize(z, dim=-1) if prior.support is sphere_constraint else z
    p = prior.prior_on_z(prior(make_encode(2)))
    log_p = p.log_prob(p.sample((2,)) if prior.support is codebook_constraint else z)
    assert torch.isfinite(log_p).all()
    if log_p.requires_grad:
        log_p.sum().backward()
        assert all(torch.isfinite(weight.grad).all() for weight in prior.parameters())


def test_vamp_with_all_training_images_is_the_aggregate_posterior(part):
    x, q = torch.rand(40, *SHAPE).double(), make_encode(2)
    prior = part("prior=vamp", "prior.components=40")(2, SHAPE).double()
    prior.initialize(x)
    z = q(x).sample()
    expected = q(x).log_prob(z.unsqueeze(1)).logsumexp(-1) - math.log(40)
    torch.testing.assert_close(prior(q).log_prob(z), expected)


def test_mean_kl_from_the_aggregate_posterior_is_the_mutual_information(part):
    """E_x KL(q(z|x)||p) = I_q(x;z) = ln N - E[H(x|z)], where p = q(z)."""
    x, q = torch.rand(40, *SHAPE).double(), make_encode(2)
    prior = part("prior=vamp", "prior.components=40")(2, SHAPE).double()
    prior.initialize(x)
    z = q(x).sample((2000,))
    kl = (q(x).log_prob(z) - prior(q).log_prob(z)).mean()
    log_p = q(x).log_prob(z.unsqueeze(2)).log_softmax(-1)  # of x given z
    information = math.log(40) + (log_p.exp() * log_p).sum(-1).mean()
    assert kl.item() == pytest.approx(information.item(), abs=0.02)
    assert 0 < kl <= math.log(40)


def test_pseudo_inputs_are_clamped_to_the_range_of_the_images(part):
    prior = part("prior=vamp", "prior.components=3")(2, SHAPE)
    prior.initialize(2 * torch.rand(30, *SHAPE) - 1)
    with torch.no_grad():
        prior.inputs.mul_(100)
    inputs = []
    prior(lambda x: inputs.append(x) or make_encode(2)(x))
    assert inputs[0].min() >= -1
    assert inputs[0].max() <= 1
    assert inputs[0].abs().max() > 0.9


def test_pixel_outside_the_range_has_a_gradient_only_towards_the_range(part):
    prior = part("prior=vamp", "prior.components=2")(2, SHAPE)
    prior.initialize(torch.rand(30, *SHAPE).round())
    with torch.no_grad():
        prior.inputs[0] += 1.5
        prior.inputs[1] -= 1.5
    inputs = []
    prior(lambda x: inputs.append(x) or make_encode(2)(x))
    for sign in (1.0, -1.0):
        prior.inputs.grad = None
        (sign * inputs[0]).sum().backward(retain_graph=True)
        is_zero = prior.inputs.grad == 0
        assert is_zero[1].all() == (sign > 0)
        assert (~is_zero[0]).all() == (sign > 0)


def test_more_pseudo_inputs_than_images_repeat_the_images(part):
    prior = part("prior=vamp", "prior.components=7")(2, SHAPE)
    x = torch.rand(3, *SHAPE)
    prior.initialize(x)
    assert all(any(torch.equal(u, image) for image in x) for u in prior.inputs)


def test_pseudo_inputs_have_a_gradient_through_the_encoder(config):
    run = RunParts.build(config("prior=vamp", "prior.components=5", "model.hidden=[8]"))
    terms = run.module.objective(run.vae, torch.rand(4, 1, 28, 28).round(), 0)
    terms["loss"].mean().backward()
    assert run.vae.prior.inputs.grad.abs().sum() > 0


def test_mixture_of_one_component_is_a_normal(part):
    prior = part("prior=mixture", "prior.components=1")(3, SHAPE).double()
    z = torch.randn(5, 3).double()
    normal = torch.distributions.Normal(prior.means[0], 1.0)
    torch.testing.assert_close(prior(make_encode(3)).log_prob(z), normal.log_prob(z).sum(-1))


@pytest.mark.parametrize(
    "setting", ["mixture components=0", "vamp components=0", "flow transforms=0"]
)
def test_setting_out_of_range_is_rejected(part, setting):
    option, value = setting.split()
    with pytest.raises(ValueError, match=rf"prior\.{value}"):
        part(f"prior={option}", f"prior.{value}")(3, SHAPE)


def test_flow_has_the_requested_number_of_steps(part):
    sizes = [
        sum(weight.numel() for weight in prior.parameters())
        for steps in (1, 3)
        for prior in [part("prior=flow", f"prior.transforms={steps}")(4, SHAPE)]
    ]
    assert sizes[1] == 3 * sizes[0] > 0


def test_vamp_rejects_batch_normalization(config):
    overrides = ["prior=vamp", "prior.components=5", "model=resnet", "model.channels=[4,8]"]
    with pytest.raises(ValueError, match=r"set model\.normalization=group"):
        RunParts.build(config(*overrides))
    assert RunParts.build(config(*overrides, "model.normalization=group")).vae.prior
