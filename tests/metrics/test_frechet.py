import pytest
import torch

from vaelab.metrics.frechet import frechet_distance


def normal(n, mean, root):
    """Features whose mean and covariance root @ root.T are exact, not only expected."""
    x = torch.randn(n, len(mean)).double()
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), x.T, upper=False).T
    return white @ root.T + mean


def test_equal_sets_are_at_distance_0():
    x = torch.randn(50, 4).double()
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_a_shift_costs_its_square():
    x, shift = torch.randn(50, 4).double(), torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
    assert frechet_distance(x, x + shift) == pytest.approx(shift.square().sum().item(), rel=1e-6)


def test_normals_with_parallel_axes_differ_by_the_squares_of_their_scales():
    a, b = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([0.5, 2.5, 1.0]).double()
    zero = torch.zeros(3).double()
    found = frechet_distance(normal(100, zero, a.diag()), normal(70, zero, b.diag()))
    assert found == pytest.approx((a - b).square().sum().item(), rel=1e-6)


def test_two_normals_of_any_covariance_have_the_distance_of_the_formula():
    roots = torch.randn(2, 5, 5).double().tril() + 3 * torch.eye(5)
    means = torch.randn(2, 5).double()
    first, second = roots @ roots.mT
    values, vectors = torch.linalg.eigh(first)
    half = vectors @ values.sqrt().diag() @ vectors.T
    cross = torch.linalg.eigvalsh(half @ second @ half).sqrt().sum()
    expected = (means[0] - means[1]).square().sum() + first.trace() + second.trace() - 2 * cross
    x, y = (normal(200, *each) for each in zip(means, roots, strict=True))
    assert frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-6)
    assert frechet_distance(y, x) == pytest.approx(expected.item(), rel=1e-6)


def test_it_is_biased_upwards_by_few_images():
    found = [
        frechet_distance(torch.randn(n, 8).double(), torch.randn(n, 8).double())
        for n in (50, 500, 5000)
    ]
    assert found[0] > 3 * found[1] > 9 * found[2] > 0
