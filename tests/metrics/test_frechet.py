import pytest
import torch

from vaelab.metrics.frechet import frechet_distance


def make_features(n, mean, root):
    """Make n features whose sample mean and covariance are exactly mean and root @ root.T."""
    x = torch.randn(n, len(mean)).double()
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), x.T, upper=False).T
    return white @ root.T + mean


def test_distance_of_equal_sets_is_0():
    x = torch.randn(50, 4).double()
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_distance_of_a_shift_is_its_square():
    x, shift = torch.randn(50, 4).double(), torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
    assert frechet_distance(x, x + shift) == pytest.approx(shift.square().sum().item(), rel=1e-6)


def test_distance_of_diagonal_normals_matches_the_closed_form():
    a, b = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([0.5, 2.5, 1.0]).double()
    zero = torch.zeros(3).double()
    distance = frechet_distance(
        make_features(100, zero, a.diag()), make_features(70, zero, b.diag())
    )
    assert distance == pytest.approx((a - b).square().sum().item(), rel=1e-6)


def test_distance_of_full_normals_matches_the_formula():
    roots = torch.randn(2, 5, 5).double().tril() + 3 * torch.eye(5)
    means = torch.randn(2, 5).double()
    first, second = roots @ roots.mT
    values, vectors = torch.linalg.eigh(first)
    half = vectors @ values.sqrt().diag() @ vectors.T
    cross = torch.linalg.eigvalsh(half @ second @ half).sqrt().sum()
    expected = (means[0] - means[1]).square().sum() + first.trace() + second.trace() - 2 * cross
    x, y = (make_features(200, *moments) for moments in zip(means, roots, strict=True))
    assert frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-6)
    assert frechet_distance(y, x) == pytest.approx(expected.item(), rel=1e-6)


def test_few_images_bias_the_distance_upwards():
    distances = [
        frechet_distance(torch.randn(n, 8).double(), torch.randn(n, 8).double())
        for n in (50, 500, 5000)
    ]
    assert distances[0] > 3 * distances[1] > 9 * distances[2] > 0
