import math

import pytest
import torch
from torchmetrics.image.kid import KernelInceptionDistance

from vaelab.metrics.kernel import kernel_distance


def make_features(n, shift=0.0, dimensions=8):
    return torch.randn(n, dimensions).double(), torch.randn(n, dimensions).double() + shift


def test_distance_matches_explicit_sums_over_pairs():
    x, y = make_features(7, 0.5)
    n, d = x.shape

    def kernel(a, b):
        return (a @ b / d + 1).item() ** 3

    pairs = [(i, j) for i in range(n) for j in range(n)]
    within = [kernel(z[i], z[j]) for z in (x, y) for i, j in pairs if i != j]
    across = [kernel(x[i], y[j]) for i, j in pairs]
    expected = sum(within) / (n * (n - 1)) - 2 * sum(across) / n**2
    assert kernel_distance(x, y)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("ignore:.*will save all extracted features.*")
def test_distance_matches_torchmetrics_with_one_subset():
    x, y = make_features(60, 0.2)

    class IdentityFeatures(torch.nn.Module):
        num_features = 8

        def forward(self, features):
            return features

    metric = KernelInceptionDistance(IdentityFeatures(), subsets=1, subset_size=60)
    metric.update(x, real=True)
    metric.update(y, real=False)
    assert kernel_distance(x, y)[0] == pytest.approx(metric.compute()[0].item(), rel=1e-9)


def test_standard_error_matches_an_explicit_jackknife():
    x, y = make_features(9, 0.5)
    without = []
    for i in range(9):
        others = torch.arange(9) != i
        without.append(kernel_distance(x[others], y[others])[0])
    mean = sum(without) / 9
    error = math.sqrt(8 / 9 * sum((value - mean) ** 2 for value in without))
    assert kernel_distance(x, y)[1] == pytest.approx(error, rel=1e-9)


def test_distance_is_unbiased():
    estimates = torch.tensor([kernel_distance(*make_features(20))[0] for _ in range(400)])
    assert abs(estimates.mean()) < 4 * estimates.std() / math.sqrt(400)


def test_standard_error_matches_repetitions():
    estimates = torch.tensor([kernel_distance(*make_features(200, 0.5)) for _ in range(300)])
    spread = estimates[:, 0].std().item()
    assert estimates[:, 1].mean().item() == pytest.approx(spread, rel=0.15)


def test_distance_does_not_depend_on_the_chunk_size(monkeypatch):
    x, y = make_features(23, 0.3)
    whole = kernel_distance(x, y)
    monkeypatch.setattr("vaelab.metrics.kernel.CHUNK_ROWS", 5)
    assert kernel_distance(x, y) == pytest.approx(whole)
