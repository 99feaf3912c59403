"""The projection of latents onto a plane."""

import pytest
import torch
from sklearn.decomposition import PCA

from vaelab.explorer.plane import MARGIN, LatentPlane


def sample_latents(dims: int) -> torch.Tensor:
    scale = torch.arange(1, dims + 1).double()
    return torch.randn(200, dims).double() * scale + 3


def test_plane_of_two_latents_is_the_latent_space():
    z = sample_latents(2)
    plane = LatentPlane.from_latents(z)
    torch.testing.assert_close(plane.points, z)
    assert plane.explained_variance == 1
    assert plane.to_latent(0.5, -7).tolist() == [0.5, -7]


def test_plane_of_more_latents_is_that_of_the_principal_components():
    z = sample_latents(5)
    plane, reference = LatentPlane.from_latents(z), PCA(2).fit(z.numpy())
    assert plane.explained_variance == pytest.approx(reference.explained_variance_ratio_.sum())
    expected = torch.from_numpy(reference.transform(z.numpy()))
    torch.testing.assert_close(plane.points.abs(), expected.abs())


@pytest.mark.parametrize("dims", [2, 5])
def test_project_inverts_to_latent(dims):
    plane = LatentPlane.from_latents(sample_latents(dims))
    assert plane.project(plane.to_latent(1.25, -2)) == pytest.approx((1.25, -2))


def test_map_contains_all_latents_and_positions_are_invertible():
    plane = LatentPlane.from_latents(sample_latents(5))
    positions = torch.tensor([plane.position_of(*point) for point in plane.points.tolist()])
    assert positions.min() > 0
    assert positions.max() < 1
    width = (positions.amax(0) - positions.amin(0)).max()
    assert width.item() == pytest.approx(1 / MARGIN)
    assert plane.position_of(*plane.point_at(0.2, 0.9)) == pytest.approx((0.2, 0.9))


def test_second_coordinate_increases_upwards():
    plane = LatentPlane.from_latents(sample_latents(2))
    assert plane.point_at(0.5, 0)[1] > plane.point_at(0.5, 1)[1]


def test_identical_latents_have_a_plane():
    plane = LatentPlane.from_latents(torch.ones(5, 3))
    assert plane.half_width > 0
    assert plane.explained_variance == 0
