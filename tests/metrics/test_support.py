import pytest
import torch

from vaelab.metrics.support import compute_support, neighbour_radii


def points(*values):
    return torch.tensor(values).double()[:, None]


def blobs(centres, each):
    return torch.cat([torch.randn(each, 2).double() + 100 * k for k in centres])


def test_a_tiny_example_is_as_worked_by_hand():
    real = points(0.0, 1.0, 3.0, 10.0)  # radii 1, 1, 2, 7: of k = 1
    new = points(1.5, 2.5, 30.0)  # radii 1, 1, 27.5
    assert neighbour_radii(real, 1).tolist() == [1, 1, 2, 7]
    assert neighbour_radii(new, 1).tolist() == [1, 1, 27.5]
    found = compute_support(real, new, k=1)
    # 1.5 lies in the balls of 1 and 3, 2.5 in that of 3, 30 in none
    assert found.precision == pytest.approx(2 / 3)
    assert found.density == pytest.approx(3 / 3)
    assert found.coverage == pytest.approx(2 / 4)
    # 1 lies in the ball of 1.5, 3 in those of 2.5 and 30, 10 in that of 30, 0 in none
    assert found.recall == pytest.approx(3 / 4)


def test_equal_sets_cover_each_other():
    x = torch.randn(40, 3)
    found = compute_support(x, x)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density >= 1


def test_sets_far_apart_have_nothing_of_each_other():
    x = torch.randn(40, 3)
    assert compute_support(x, x + 1000) == (0, 0, 0, 0)


def test_of_one_distribution_density_is_1_and_coverage_as_many_neighbours_say():
    found = compute_support(torch.randn(2000, 2), torch.randn(2000, 2))
    assert found.density == pytest.approx(1, abs=0.05)
    # a ball that holds k of n - 1 others holds none of n new ones about as often as 2^-k
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.015)


def test_a_dropped_mode_lowers_recall_and_coverage_and_not_precision():
    real = blobs((0, 1), 200)
    whole, half = (
        compute_support(real, blobs((0, 1), 200)),
        compute_support(real, blobs((0, 0), 200)),
    )
    assert half.precision == pytest.approx(whole.precision, abs=0.05)
    assert half.recall < 0.55 < 0.9 < whole.recall
    assert half.coverage < 0.55 < 0.9 < whole.coverage


def test_an_invented_mode_lowers_precision_and_density_and_not_recall():
    real = blobs((0, 0), 200)
    whole, more = (
        compute_support(real, blobs((0, 0), 200)),
        compute_support(real, blobs((0, 5), 200)),
    )
    assert more.recall == pytest.approx(whole.recall, abs=0.05)
    assert more.precision < 0.55 < 0.9 < whole.precision
    assert more.density < 0.6 * whole.density


def test_it_is_what_the_definitions_say(monkeypatch):
    monkeypatch.setattr("vaelab.metrics.support.ROWS", 6)
    real, new = torch.randn(20, 3).double(), 1.5 * torch.randn(17, 3).double()
    k = 3

    def distance(a, b):
        return (a - b).square().sum().sqrt().item()

    def ball(x, i):
        return sorted(distance(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]

    balls = [ball(real, i) for i in range(20)], [ball(new, j) for j in range(17)]
    inside = [[distance(x, y) <= r for y in new] for x, r in zip(real, balls[0], strict=True)]
    around = [any(distance(x, y) <= r for y, r in zip(new, balls[1], strict=True)) for x in real]
    found = compute_support(real, new, k)
    assert found.precision == pytest.approx(sum(map(any, zip(*inside, strict=True))) / 17)
    assert found.recall == pytest.approx(sum(around) / 20)
    assert found.density == pytest.approx(sum(map(sum, inside)) / (k * 17))
    assert found.coverage == pytest.approx(sum(map(any, inside)) / 20)
