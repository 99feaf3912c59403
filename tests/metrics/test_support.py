import pytest
import torch

from vaelab.metrics.support import compute_support, neighbour_radii


def make_points(*values):
    return torch.tensor(values).double()[:, None]


def make_modes(centres, size):
    return torch.cat([torch.randn(size, 2).double() + 100 * k for k in centres])


def test_small_example_matches_manual_computation():
    real = make_points(0.0, 1.0, 3.0, 10.0)  # radii 1, 1, 2, 7 for k = 1
    new = make_points(1.5, 2.5, 30.0)  # radii 1, 1, 27.5
    assert neighbour_radii(real, 1).tolist() == [1, 1, 2, 7]
    assert neighbour_radii(new, 1).tolist() == [1, 1, 27.5]
    metrics = compute_support(real, new, k=1)
    # 1.5 lies in the balls of 1 and 3, 2.5 in the ball of 3, 30 in none
    assert metrics.precision == pytest.approx(2 / 3)
    assert metrics.density == pytest.approx(3 / 3)
    assert metrics.coverage == pytest.approx(2 / 4)
    # 1 lies in the ball of 1.5, 3 in those of 2.5 and 30, 10 in that of 30, 0 in none
    assert metrics.recall == pytest.approx(3 / 4)


def test_equal_sets_cover_each_other():
    x = torch.randn(40, 3)
    metrics = compute_support(x, x)
    assert (metrics.precision, metrics.recall, metrics.coverage) == (1, 1, 1)
    assert metrics.density >= 1


def test_distant_sets_have_all_metrics_0():
    x = torch.randn(40, 3)
    assert compute_support(x, x + 1000) == (0, 0, 0, 0)


def test_equal_distributions_have_density_1_and_expected_coverage():
    metrics = compute_support(torch.randn(2000, 2), torch.randn(2000, 2))
    assert metrics.density == pytest.approx(1, abs=0.05)
    # a ball that contains k of n - 1 others contains none of n new ones with probability 2^-k
    assert metrics.coverage == pytest.approx(1 - 2**-5, abs=0.015)


def test_dropped_mode_lowers_recall_and_coverage_but_not_precision():
    real = make_modes((0, 1), 200)
    whole, half = (
        compute_support(real, make_modes((0, 1), 200)),
        compute_support(real, make_modes((0, 0), 200)),
    )
    assert half.precision == pytest.approx(whole.precision, abs=0.05)
    assert half.recall < 0.55 < 0.9 < whole.recall
    assert half.coverage < 0.55 < 0.9 < whole.coverage


def test_invented_mode_lowers_precision_and_density_but_not_recall():
    real = make_modes((0, 0), 200)
    whole, more = (
        compute_support(real, make_modes((0, 0), 200)),
        compute_support(real, make_modes((0, 5), 200)),
    )
    assert more.recall == pytest.approx(whole.recall, abs=0.05)
    assert more.precision < 0.55 < 0.9 < whole.precision
    assert more.density < 0.6 * whole.density


def test_metrics_match_their_definitions(monkeypatch):
    monkeypatch.setattr("vaelab.metrics.support.CHUNK_ROWS", 6)
    real, new = torch.randn(20, 3).double(), 1.5 * torch.randn(17, 3).double()
    k = 3

    def distance(a, b):
        return (a - b).square().sum().sqrt().item()

    def ball(x, i):
        return sorted(distance(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]

    balls = [ball(real, i) for i in range(20)], [ball(new, j) for j in range(17)]
    inside = [[distance(x, y) <= r for y in new] for x, r in zip(real, balls[0], strict=True)]
    around = [any(distance(x, y) <= r for y, r in zip(new, balls[1], strict=True)) for x in real]
    metrics = compute_support(real, new, k)
    assert metrics.precision == pytest.approx(sum(map(any, zip(*inside, strict=True))) / 17)
    assert metrics.recall == pytest.approx(sum(around) / 20)
    assert metrics.density == pytest.approx(sum(map(sum, inside)) / (k * 17))
    assert metrics.coverage == pytest.approx(sum(map(any, inside)) / 20)
