import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch.nn.functional import normalize

from vaelab.distributions.sphere import UniformSphere, log_sphere_area, sphere_constraint
from vaelab.distributions.von_mises_fisher import VonMisesFisher

SLOW = pytest.mark.slow
CONCENTRATIONS = torch.tensor([1e-3, 0.5, 3.0, 40.0, 1e3, 1e5]).double()


def make_vmf(dim, concentration=CONCENTRATIONS):
    direction = normalize(torch.randn(len(concentration), dim).double(), dim=-1)
    return VonMisesFisher(direction, concentration)


def log_bessel(order, k):
    return np.log(special.ive(order, k)) + k


@pytest.mark.parametrize("dim", [2, 3, 4, 11, 50])
def test_normalizer_and_mean_agree_with_bessel_functions(dim):
    q, k, order = make_vmf(dim), CONCENTRATIONS.numpy(), dim / 2 - 1
    log_c = order * np.log(k) - dim / 2 * math.log(2 * math.pi) - log_bessel(order, k)
    valid = np.isfinite(log_c)  # Bessel functions of high order underflow at small k
    assert valid.sum() >= 4
    actual = -(q.log_partition + q.concentration)[valid]
    torch.testing.assert_close(actual, torch.from_numpy(log_c[valid]), rtol=1e-10, atol=1e-9)
    ratio = special.ive(dim / 2, k[valid]) / special.ive(order, k[valid])
    torch.testing.assert_close(q.mean_cosine[valid], torch.from_numpy(ratio), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dim", [3, 10])
def test_density_agrees_with_scipy(dim):
    q = make_vmf(dim, torch.tensor([0.7, 30.0]).double())
    z = q.sample((5,))
    for i, k in enumerate(q.concentration.tolist()):
        expected = stats.vonmises_fisher(q.direction[i].numpy(), k).logpdf(z[:, i].numpy())
        torch.testing.assert_close(q.log_prob(z)[:, i], torch.from_numpy(expected))


def test_density_integrates_to_one_on_the_circle_and_on_the_sphere():
    angle = torch.linspace(0, 2 * math.pi, 20_001).double()
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    q = VonMisesFisher(normalize(torch.tensor([[0.3, -2.0]]).double(), dim=-1), CONCENTRATIONS[3:4])
    total = torch.trapezoid(q.log_prob(circle.unsqueeze(1)).exp()[:, 0], angle)
    assert total.item() == pytest.approx(1, abs=1e-9)
    polar, azimuth = torch.linspace(0, math.pi, 801).double(), torch.linspace(0, 2 * math.pi, 801)
    a, b = torch.meshgrid(polar, azimuth.double(), indexing="ij")
    z = torch.stack([a.sin() * b.cos(), a.sin() * b.sin(), a.cos()], -1)
    q = VonMisesFisher(
        normalize(torch.tensor([1.0, -2.0, 0.5]).double(), dim=-1), CONCENTRATIONS[3]
    )
    inner = torch.trapezoid(q.log_prob(z).exp() * a.sin(), azimuth.double())
    assert torch.trapezoid(inner, polar).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dim", [pytest.param(2, marks=SLOW), 3, pytest.param(11, marks=SLOW)])
def test_samples_lie_on_the_sphere_with_the_correct_moments(dim):
    q = make_vmf(dim)
    z = q.sample((20_000,))
    assert sphere_constraint.check(z).all()
    cosine = (z * q.direction).sum(-1)
    error = cosine.std(0) / math.sqrt(20_000)
    assert ((cosine.mean(0) - q.mean_cosine).abs() < 4.5 * error + 1e-12).all()
    squares = (1 - cosine).square()
    k = CONCENTRATIONS
    mean_square = 1 - (dim - 1) / k * q.mean_cosine  # E[cos(a)^2], by a recurrence
    expected = 1 - 2 * q.mean_cosine + mean_square
    error = squares.std(0) / math.sqrt(20_000)
    assert ((squares.mean(0) - expected).abs() < 4.5 * error + 1e-9).all()


def test_kl_from_uniform_agrees_with_samples_and_vanishes_at_concentration_0():
    q = make_vmf(5)
    kl = q.kl_from_uniform()
    z = q.sample((20_000,))
    sampled = q.log_prob(z) - UniformSphere(torch.zeros(5).double()).log_prob(z)
    error = sampled.std(0) / math.sqrt(20_000)
    assert ((kl - sampled.mean(0)).abs() < 4.5 * error + 1e-9).all()
    assert kl[0].item() == pytest.approx(0, abs=1e-6)
    assert (kl.diff() > 0).all()


@pytest.mark.parametrize(
    ("dim", "concentration"),
    [
        *((2, 0.7), (3, 5.0), (8, 60.0)),
        *(
            pytest.param(dim, concentration, marks=SLOW)
            for dim in (2, 3, 4, 8)
            for concentration in (0.7, 5.0, 60.0)
            if (dim, concentration) not in ((2, 0.7), (3, 5.0), (8, 60.0))
        ),
    ],
)
def test_gradient_of_an_expectation_is_unbiased(dim, concentration):
    """Compare d E[exp(cos a)] / dk from samples with numerical integration."""
    k = torch.full((50_000,), concentration, dtype=torch.float64, requires_grad=True)
    direction = torch.eye(dim).double()[0].expand(len(k), dim)
    z = VonMisesFisher(direction, k).rsample()
    (slopes,) = torch.autograd.grad(z[:, 0].exp().sum(), k)
    angle = torch.linspace(0, math.pi, 200_001).double()

    def expectation(k):
        log_sine = torch.xlogy(torch.tensor(dim - 2.0), angle.sin().clamp(min=0))
        p = (log_sine + k * (angle.cos() - 1)).exp()
        return torch.trapezoid(p * angle.cos().exp(), angle) / torch.trapezoid(p, angle)

    exact = (expectation(concentration + 1e-4) - expectation(concentration - 1e-4)) / 2e-4
    error = slopes.std().item() / math.sqrt(len(k))
    assert slopes.mean().item() == pytest.approx(exact.item(), abs=4.5 * error)


def test_gradient_through_accepted_proposals_is_biased():
    """Differentiating an accepted proposal ignores the acceptance probability (5 dimensions)."""
    dim, concentration = 5, 5.0
    k = torch.full((30_000,), concentration, dtype=torch.float64)
    q = VonMisesFisher(torch.eye(dim).double()[0].expand(len(k), dim), k)
    angle, slope = q._sample_angle(k)
    n = dim - 1

    def b(k):
        return n / (2 * k + math.sqrt(4 * k**2 + n**2))

    cosine = angle.cos()
    beta = (1 - cosine) / (1 + b(concentration) - (1 - b(concentration)) * cosine)

    def propose(k):
        return (1 - (1 + b(k)) * beta) / (1 - (1 - b(k)) * beta)

    biased = (propose(concentration + 1e-5) - propose(concentration - 1e-5)) / 2e-5
    unbiased = -angle.sin() * slope
    exact = torch.autograd.functional.jacobian(
        lambda k: VonMisesFisher(q.direction[:1], k).mean_cosine, k[:1]
    ).item()
    error = unbiased.std().item() / math.sqrt(len(k))
    assert unbiased.mean().item() == pytest.approx(exact, abs=4 * error)
    assert abs(biased.mean().item() - exact) > 20 * error


@pytest.mark.slow
def test_gradient_by_the_direction_is_that_of_the_mean():
    raw = torch.tensor([0.3, -1.0, 0.5]).double().requires_grad_()
    q = VonMisesFisher(
        normalize(raw, dim=-1).expand(200_000, 3), torch.tensor(4.0).double().expand(200_000)
    )
    weights = torch.tensor([1.0, 2.0, -1.0]).double()
    values = q.rsample() @ weights
    (gradient,) = torch.autograd.grad(values.mean(), raw, retain_graph=True)
    (exact,) = torch.autograd.grad((q.mean @ weights).mean(), raw)
    assert torch.allclose(gradient, exact, atol=0.02)


def test_sampling_first_does_not_change_the_gradient_of_the_normalizer():
    k = torch.tensor([5.0]).double().requires_grad_()
    direction = torch.eye(4).double()[:1]
    for compute in (lambda q: q.log_prob(direction), VonMisesFisher.kl_from_uniform):
        fresh, sampled = VonMisesFisher(direction, k), VonMisesFisher(direction, k)
        sampled.rsample()
        slopes = [torch.autograd.grad(compute(q).sum(), k)[0] for q in (fresh, sampled)]
        assert slopes[0] == slopes[1] != 0


@pytest.mark.parametrize("dim", [pytest.param(2, marks=SLOW), 3, pytest.param(11, marks=SLOW)])
def test_float32_samples_lie_on_the_sphere_with_bounded_gradients(dim):
    raw = torch.zeros(30_000, dim)
    raw[:, 0] = 1
    raw.requires_grad_()
    q = VonMisesFisher(normalize(raw, dim=-1), torch.full((30_000,), 3.0))
    z = q.rsample()
    assert (z.norm(dim=-1) - 1).abs().max() < 1e-5
    z[:, 1].sum().backward()
    assert raw.grad.abs().max() < 2
    exact = VonMisesFisher(q.direction.double(), torch.full((30_000,), 1e5).double())
    z = exact.sample()
    log_p = VonMisesFisher(q.direction, torch.full((30_000,), 1e5)).log_prob(z.float())
    torch.testing.assert_close(log_p.double(), exact.log_prob(z), rtol=0, atol=2e-3)


def test_sampling_with_a_nan_concentration_terminates():
    direction = torch.tensor([[1.0, 0.0, 0.0]])
    VonMisesFisher(direction, torch.tensor([math.nan])).sample()


def test_uniform_sphere_has_known_area_and_moments():
    assert math.exp(log_sphere_area(2)) == pytest.approx(2 * math.pi)
    assert math.exp(log_sphere_area(3)) == pytest.approx(4 * math.pi)
    p = UniformSphere(torch.zeros(3))
    z = p.sample((20_000,))
    assert sphere_constraint.check(z).all()
    assert z.mean(0).abs().max() < 0.03
    assert (z.square().mean(0) - 1 / 3).abs().max() < 0.01
