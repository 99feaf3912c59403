"""The flat map of codes."""

import pytest
import torch
from sklearn.decomposition import PCA

from vaelab.explorer.plane import MARGIN, LatentPlane


def codes(dims: int) -> torch.Tensor:
    scale = torch.arange(1, dims + 1).double()
    return torch.randn(200, dims).double() * scale + 3


def test_two_latents_are_their_own_map():
    z = codes(2)
    plane = LatentPlane.of(z)
    torch.testing.assert_close(plane.places, z)
    assert plane.share == 1
    assert plane.code(0.5, -7).tolist() == [0.5, -7]


def test_of_more_it_is_that_of_the_principal_components():
    z = codes(5)
    plane, reference = LatentPlane.of(z), PCA(2).fit(z.numpy())
    assert plane.share == pytest.approx(reference.explained_variance_ratio_.sum())
    expected = torch.from_numpy(reference.transform(z.numpy()))
    torch.testing.assert_close(plane.places.abs(), expected.abs())


@pytest.mark.parametrize("dims", [2, 5])
def test_the_code_of_a_place_lies_there(dims):
    plane = LatentPlane.of(codes(dims))
    assert plane.place(plane.code(1.25, -2)) == pytest.approx((1.25, -2))


def test_the_square_holds_all_codes_and_its_shares_lead_back():
    plane = LatentPlane.of(codes(5))
    shares = torch.tensor([plane.shares(*place) for place in plane.places.tolist()])
    assert shares.min() > 0
    assert shares.max() < 1
    width = (shares.amax(0) - shares.amin(0)).max()
    assert width.item() == pytest.approx(1 / MARGIN)
    assert plane.shares(*plane.at(0.2, 0.9)) == pytest.approx((0.2, 0.9))


def test_up_is_up():
    plane = LatentPlane.of(codes(2))
    assert plane.at(0.5, 0)[1] > plane.at(0.5, 1)[1]


def test_codes_that_are_all_the_same_have_a_map():
    plane = LatentPlane.of(torch.ones(5, 3))
    assert plane.reach > 0
    assert plane.share == 0
