import math

import pytest
import torch

from vaelab.distributions.toys import TOYS, bend_into_ring, make_toy_distribution

EDGE, CELLS = 3.2, 160


def grid_cells():
    """Return the midpoints of small squares that cover every distribution, and their area."""
    side = (torch.arange(CELLS) + 0.5) / CELLS * 2 * EDGE - EDGE
    return torch.cartesian_prod(side, side), (2 * EDGE / CELLS) ** 2


@pytest.mark.parametrize("name", TOYS)
def test_density_integrates_to_one(name):
    points, area = grid_cells()
    total = make_toy_distribution(name).log_prob(points).double().exp().sum() * area
    assert total == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", TOYS)
def test_samples_follow_the_density(name):
    points, area = grid_cells()
    log_p = make_toy_distribution(name).log_prob(points).double()
    x = make_toy_distribution(name).sample(torch.Size([5000]))
    log_p_of_x = make_toy_distribution(name).log_prob(x).double()
    assert x.shape == (5000, 2)
    for statistic in (lambda x, _: x[:, 0] * x[:, 1], lambda x, _: x.norm(dim=1), lambda _, y: y):
        values = statistic(x, log_p_of_x)
        exact = (log_p.exp() * statistic(points, log_p).nan_to_num(neginf=0)).sum() * area
        assert (values.mean() - exact).abs() < 4 * values.std() / math.sqrt(5000) + 1e-3


@pytest.mark.parametrize(
    ("name", "nats"),
    [
        ("checkerboard", math.log(8)),
        # ln 8 for the component, plus the entropy of one 2-D normal; the normals hardly overlap
        ("eight_gaussians", math.log(8) + math.log(2 * math.pi * math.e * 0.2**2)),
    ],
)
def test_entropy_has_the_known_value(name, nats):
    points, area = grid_cells()
    log_p = make_toy_distribution(name).log_prob(points).double()
    assert -(log_p.exp() * log_p.nan_to_num(neginf=0)).sum() * area == pytest.approx(nats, abs=5e-3)


def test_ring_maps_normal_points_to_known_points():
    z = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    torch.testing.assert_close(bend_into_ring(z), torch.tensor([[0.9, 1.2], [0.0, -1.2]]))


def test_samples_have_the_requested_shape():
    for name in TOYS:
        assert make_toy_distribution(name).sample(torch.Size([3, 4])).shape == (3, 4, 2)
        assert make_toy_distribution(name).sample().shape == (2,)
        assert make_toy_distribution(name).log_prob(torch.zeros(3, 4, 2)).shape == (3, 4)
