import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch.nn.functional import normalize

from vaelab.distributions.sphere import UniformSphere, log_area, sphere
from vaelab.distributions.von_mises_fisher import VonMisesFisher

CONCENTRATIONS = torch.tensor([1e-3, 0.5, 3.0, 40.0, 1e3, 1e5]).double()


def vmf(dim, concentration=CONCENTRATIONS):
    direction = normalize(torch.randn(len(concentration), dim).double(), dim=-1)
    return VonMisesFisher(direction, concentration)


def log_bessel(order, k):
    return np.log(special.ive(order, k)) + k


@pytest.mark.parametrize("dim", [2, 3, 4, 11, 50])
def test_its_constant_is_the_bessel_function_of_the_paper(dim):
    q, k, order = vmf(dim), CONCENTRATIONS.numpy(), dim / 2 - 1
    log_c = order * np.log(k) - dim / 2 * math.log(2 * math.pi) - log_bessel(order, k)
    seen = np.isfinite(log_c)  # Bessel functions of high order vanish at small k
    assert seen.sum() >= 4
    found = -(q.log_partition + q.concentration)[seen]
    torch.testing.assert_close(found, torch.from_numpy(log_c[seen]), rtol=1e-10, atol=1e-9)
    ratio = special.ive(dim / 2, k[seen]) / special.ive(order, k[seen])
    torch.testing.assert_close(q.mean_cosine[seen], torch.from_numpy(ratio), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dim", [3, 10])
def test_its_density_is_scipys(dim):
    q = vmf(dim, torch.tensor([0.7, 30.0]).double())
    z = q.sample((5,))
    for i, k in enumerate(q.concentration.tolist()):
        oracle = stats.vonmises_fisher(q.direction[i].numpy(), k).logpdf(z[:, i].numpy())
        torch.testing.assert_close(q.log_prob(z)[:, i], torch.from_numpy(oracle))


def test_it_integrates_to_one_on_the_circle_and_on_the_sphere():
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


@pytest.mark.parametrize("dim", [2, 3, 11])
def test_its_draws_lie_on_the_sphere_as_far_from_the_mean_as_they_should(dim):
    q = vmf(dim)
    z = q.sample((20_000,))
    assert sphere.check(z).all()
    cosine = (z * q.direction).sum(-1)
    error = cosine.std(0) / math.sqrt(20_000)
    assert ((cosine.mean(0) - q.mean_cosine).abs() < 4.5 * error + 1e-12).all()
    far = (1 - cosine).square()  # a second moment: scale and shape
    k = CONCENTRATIONS
    second = 1 - (dim - 1) / k * q.mean_cosine  # E[cos^2], by the recurrence of Bessel functions
    expected = 1 - 2 * q.mean_cosine + second
    loose = far.std(0) / math.sqrt(20_000)
    assert ((far.mean(0) - expected).abs() < 4.5 * loose + 1e-9).all()


def test_its_divergence_from_the_uniform_is_the_mean_of_the_sampled_one_and_vanishes_at_0():
    q = vmf(5)
    kl = q.kl_from_uniform()
    z = q.sample((20_000,))
    sampled = q.log_prob(z) - UniformSphere(torch.zeros(5).double()).log_prob(z)
    error = sampled.std(0) / math.sqrt(20_000)
    assert ((kl - sampled.mean(0)).abs() < 4.5 * error + 1e-9).all()
    assert kl[0].item() == pytest.approx(0, abs=1e-6)
    assert (kl.diff() > 0).all()


@pytest.mark.parametrize("dim", [2, 3, 4, 8])
@pytest.mark.parametrize("concentration", [0.7, 5.0, 60.0])
def test_the_gradient_of_an_expectation_is_exact(dim, concentration):
    """d E[exp(cos a)] / dk by paths, against the same by integration."""
    k = torch.full((50_000,), concentration, dtype=torch.float64, requires_grad=True)
    direction = torch.eye(dim).double()[0].expand(len(k), dim)
    z = VonMisesFisher(direction, k).rsample()
    (slopes,) = torch.autograd.grad(z[:, 0].exp().sum(), k)
    angle = torch.linspace(0, math.pi, 200_001).double()

    def expectation(k):
        height = torch.xlogy(torch.tensor(dim - 2.0), angle.sin().clamp(min=0)) + k * (
            angle.cos() - 1
        )
        p = height.exp()
        return torch.trapezoid(p * angle.cos().exp(), angle) / torch.trapezoid(p, angle)

    exact = (expectation(concentration + 1e-4) - expectation(concentration - 1e-4)) / 2e-4
    error = slopes.std().item() / math.sqrt(len(k))
    assert slopes.mean().item() == pytest.approx(exact.item(), abs=4.5 * error)


def test_the_path_through_an_accepted_proposal_alone_is_biased():
    """Without what the acceptance adds, the gradient by k is another number (5 dimensions)."""
    dim, concentration = 5, 5.0
    k = torch.full((30_000,), concentration, dtype=torch.float64)
    q = VonMisesFisher(torch.eye(dim).double()[0].expand(len(k), dim), k)
    angle, slope = q._angle(k)
    n = dim - 1

    def b(k):
        return n / (2 * k + math.sqrt(4 * k**2 + n**2))

    cosine = angle.cos()
    drawn = (1 - cosine) / (1 + b(concentration) - (1 - b(concentration)) * cosine)

    def path(k):
        return (1 - (1 + b(k)) * drawn) / (1 - (1 - b(k)) * drawn)

    alone = (path(concentration + 1e-5) - path(concentration - 1e-5)) / 2e-5
    with_correction = -angle.sin() * slope
    cosines = torch.autograd.functional.jacobian(
        lambda k: VonMisesFisher(q.direction[:1], k).mean_cosine, k[:1]
    ).item()
    error = with_correction.std().item() / math.sqrt(len(k))
    assert with_correction.mean().item() == pytest.approx(cosines, abs=4 * error)
    assert abs(alone.mean().item() - cosines) > 20 * error


def test_its_gradient_by_the_direction_is_that_of_its_mean():
    raw = torch.tensor([0.3, -1.0, 0.5]).double().requires_grad_()
    q = VonMisesFisher(
        normalize(raw, dim=-1).expand(200_000, 3), torch.tensor(4.0).double().expand(200_000)
    )
    weights = torch.tensor([1.0, 2.0, -1.0]).double()
    values = q.rsample() @ weights
    (found,) = torch.autograd.grad(values.mean(), raw, retain_graph=True)
    (exact,) = torch.autograd.grad((q.mean @ weights).mean(), raw)
    assert torch.allclose(found, exact, atol=0.02)


def test_a_draw_leaves_the_gradient_of_the_constant_alone():
    k = torch.tensor([5.0]).double().requires_grad_()
    direction = torch.eye(4).double()[:1]
    fresh, drawn = VonMisesFisher(direction, k), VonMisesFisher(direction, k)
    drawn.rsample()
    for found in (lambda q: q.log_prob(direction), VonMisesFisher.kl_from_uniform):
        slopes = [torch.autograd.grad(found(q).sum(), k)[0] for q in (fresh, drawn)]
        assert slopes[0] == slopes[1] != 0
        fresh, drawn = VonMisesFisher(direction, k), VonMisesFisher(direction, k)
        drawn.rsample()


@pytest.mark.parametrize("dim", [2, 3, 11])
def test_in_float32_draws_stay_on_the_sphere_and_their_gradients_small(dim):
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
    found = VonMisesFisher(q.direction, torch.full((30_000,), 1e5)).log_prob(z.float())
    torch.testing.assert_close(found.double(), exact.log_prob(z), rtol=0, atol=2e-3)


def test_a_concentration_that_is_no_number_does_not_hang():
    direction = torch.tensor([[1.0, 0.0, 0.0]])
    VonMisesFisher(direction, torch.tensor([math.nan])).sample()


def test_the_uniform_distribution_has_the_area_of_the_sphere():
    assert math.exp(log_area(2)) == pytest.approx(2 * math.pi)
    assert math.exp(log_area(3)) == pytest.approx(4 * math.pi)
    p = UniformSphere(torch.zeros(3))
    z = p.sample((20_000,))
    assert sphere.check(z).all()
    assert z.mean(0).abs().max() < 0.03
    assert (z.square().mean(0) - 1 / 3).abs().max() < 0.01
