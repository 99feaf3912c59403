import math

import pytest
import torch

from vaelab.distributions.toys import TOYS, bend_into_ring, toy_distribution

EDGE, CELLS = 3.2, 160


def cells():
    """The midpoints of small squares that cover every toy, and the area of one."""
    side = (torch.arange(CELLS) + 0.5) / CELLS * 2 * EDGE - EDGE
    return torch.cartesian_prod(side, side), (2 * EDGE / CELLS) ** 2


@pytest.mark.parametrize("name", TOYS)
def test_the_density_sums_to_one(name):
    points, area = cells()
    assert toy_distribution(name).log_prob(points).double().exp().sum() * area == pytest.approx(
        1, abs=2e-3
    )


@pytest.mark.parametrize("name", TOYS)
def test_draws_follow_the_density(name):
    points, area = cells()
    log_p = toy_distribution(name).log_prob(points).double()
    x = toy_distribution(name).sample(torch.Size([5000]))
    log_p_of_x = toy_distribution(name).log_prob(x).double()
    assert x.shape == (5000, 2)
    for statistic in (lambda x, _: x[:, 0] * x[:, 1], lambda x, _: x.norm(dim=1), lambda _, y: y):
        found = statistic(x, log_p_of_x)
        exact = (log_p.exp() * statistic(points, log_p).nan_to_num(neginf=0)).sum() * area
        assert (found.mean() - exact).abs() < 4 * found.std() / math.sqrt(5000) + 1e-3


@pytest.mark.parametrize(
    ("name", "nats"),
    [
        ("checkerboard", math.log(8)),
        # ln 8 of the choice, and the entropy of a normal in the plane, well apart from the others
        ("eight_gaussians", math.log(8) + math.log(2 * math.pi * math.e * 0.2**2)),
    ],
)
def test_the_entropy_is_what_it_must_be(name, nats):
    points, area = cells()
    log_p = toy_distribution(name).log_prob(points).double()
    assert -(log_p.exp() * log_p.nan_to_num(neginf=0)).sum() * area == pytest.approx(nats, abs=5e-3)


def test_the_ring_is_a_normal_cloud_bent():
    z = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    torch.testing.assert_close(bend_into_ring(z), torch.tensor([[0.9, 1.2], [0.0, -1.2]]))


def test_draws_have_the_shape_that_is_asked_for():
    for name in TOYS:
        assert toy_distribution(name).sample(torch.Size([3, 4])).shape == (3, 4, 2)
        assert toy_distribution(name).sample().shape == (2,)
        assert toy_distribution(name).log_prob(torch.zeros(3, 4, 2)).shape == (3, 4)
