import math

import pytest
import torch

from vaelab.data.volumes import (
    BOX,
    BOX_SIZE,
    ELLIPSOID,
    Volumes,
    _fill_shapes,
    _quaternions_to_rotations,
)

SIZE = (40, 40, 40)


def load_volumes(**settings):
    data = Volumes(**{"train": 60, "validation": 0, "test": 30, **settings})
    data.setup()
    return data


def fill(label, axes, center=(0.0, 0.0, 0.0), rotation=None, size=SIZE):
    rotation = torch.eye(3) if rotation is None else rotation
    parts = torch.tensor([label]), torch.tensor([axes]), torch.tensor([center]), rotation[None]
    return _fill_shapes(size, *parts)[0, 0] / 255


def test_volumes_are_binary_in_splits_of_the_given_sizes():
    data = load_volumes()
    shapes = {name: tuple(split.images.shape) for name, split in data.splits.items()}
    cube = (1, 16, 16, 16)
    assert shapes == {"train": (60, *cube), "val": (0, *cube), "test": (30, *cube)}
    assert data.splits["train"].images.unique().tolist() == [0, 255]
    assert (data.pixels, data.range) == ("binary", (0.0, 1.0))
    assert data.splits["train"].labels.unique().tolist() == [ELLIPSOID, BOX]


def test_ellipsoids_do_not_touch_the_border_and_boxes_rarely_do():
    x, labels = load_volumes(train=500).splits["train"]
    inside = x[..., 1:-1, 1:-1, 1:-1].flatten(1).bool().sum(1)
    touches = x.flatten(1).bool().sum(1) > inside
    assert not touches[labels == ELLIPSOID].any()
    assert touches.float().mean() < 0.05
    assert inside.min() > 0


def test_ellipsoid_and_box_have_their_volume():
    axes, rotation = (16.0, 10.0, 7.0), _quaternions_to_rotations(torch.randn(1, 4))[0]
    shapes = [fill(label, axes, rotation=rotation) for label in (ELLIPSOID, BOX)]
    ellipsoid, box = (x.sum() / math.prod(axes) for x in shapes)
    assert ellipsoid.item() == pytest.approx(4 / 3 * math.pi, rel=0.02)
    assert box.item() == pytest.approx((2 * BOX_SIZE) ** 3, rel=0.05)


def test_axes_and_center_are_in_the_order_of_the_dimensions():
    x = fill(ELLIPSOID, (12.0, 6.0, 3.0), (1.0, -4.0, 8.0))
    index = x.nonzero().float()
    torch.testing.assert_close(index.mean(0), torch.tensor([20.5, 15.5, 27.5]), atol=0.1, rtol=0)
    extent = index.amax(0) - index.amin(0) + 1
    torch.testing.assert_close(extent, torch.tensor([24.0, 12.0, 6.0]), atol=1, rtol=0)


def test_rotations_are_orthogonal_and_turn_the_shape():
    rotations = _quaternions_to_rotations(torch.randn(20, 4))
    torch.testing.assert_close(
        rotations @ rotations.mT, torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(20))
    quarter = _quaternions_to_rotations(torch.tensor([[1.0, 0, 0, 1]]))[0]  # around the last axis
    turned = fill(BOX, (15.0, 6.0, 4.0), rotation=quarter)
    assert torch.equal(turned, fill(BOX, (6.0, 15.0, 4.0)))


def test_volumes_depend_on_draw_and_not_on_seed():
    first, same, other = load_volumes(), load_volumes(seed=1), load_volumes(draw=1)
    for name in ("train", "test"):
        assert torch.equal(first.splits[name].images, same.splits[name].images)
        assert not torch.equal(first.splits[name].images, other.splits[name].images)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (1, 16, 16)}, r"data\.shape=\[1, 16, 16\]: .* data\.shape=\[1,16,16,16\]"),
        ({"shape": (2, 8, 8, 8)}, r"makes volumes \[1,depth,height,width\]"),
        ({"dequantize": True}, "are binary: set data.dequantize=false"),
        ({"test": 0}, "data.test=0: set train and test to at least 1"),
        ({"draw": -1}, "data.draw=-1: it must be at least 0"),
    ],
)
def test_invalid_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Volumes(**settings)
