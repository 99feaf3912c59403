import math

import pytest
import torch

from vaelab.data.sprites import SHAPES, Sprites, _draw_shapes, _select_images

SMALL = {"shape": (1, 32, 32), "scales": 2, "angles": 4, "positions": 4}
SPLITS = ("train", "val", "test")


def load_sprites(**settings):
    data = Sprites(**{**SMALL, **settings})
    data.setup()
    return data


def select_image(data, *labels):
    return _select_images(data._make_views(), torch.tensor([labels]))[0, 0]


def test_every_combination_is_in_one_split_once_with_its_labels():
    data = load_sprites()
    assert [len(data.splits[name].images) for name in SPLITS] == [308, 38, 38]
    labels = torch.cat([data.splits[name].labels for name in SPLITS])
    assert len(labels.unique(dim=0)) == len(labels) == 3 * 2 * 4 * 4 * 4
    assert labels.amax(0).tolist() == [size - 1 for size in data.sizes]
    assert len(data.factors) == labels.shape[1]
    for images, labels in data.splits.values():
        for i in (0, -1):
            assert torch.equal(images[i, 0], select_image(data, *labels[i].tolist()))


def test_split_does_not_depend_on_the_seed():
    first, second = (load_sprites(seed=seed).splits["test"] for seed in (0, 1))
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.images, second.images)


def test_all_images_of_the_default_settings_differ():
    """Each shape differs from all others by more than its position."""
    data = Sprites()
    one = torch.tensor([0])
    labels = torch.cartesian_prod(*map(torch.arange, data.sizes[:3]), one, one)
    drawings = _select_images(data._make_views(), labels)
    cropped = {
        (box.shape, box.numpy().tobytes())
        for drawing in drawings[:, 0]
        for rows, columns in [drawing.nonzero().unbind(1)]
        for box in [drawing[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]]
    }
    assert len(cropped) == len(drawings) == 3 * 6 * 16


def test_x_moves_right_and_y_down_by_whole_pixels():
    data = Sprites()
    image = select_image(data, 2, 4, 3, 7, 9)
    assert torch.equal(select_image(data, 2, 4, 3, 8, 9), image.roll(2, 1))
    assert torch.equal(select_image(data, 2, 4, 3, 7, 10), image.roll(2, 0))


@pytest.mark.parametrize(("side", "positions"), [(64, 4), (32, 8), (28, 4), (15, 1), (33, 3)])
def test_no_shape_is_cut_off(side, positions):
    data = Sprites((1, side, side), scales=2, angles=4, positions=positions)
    labels = torch.cartesian_prod(*map(torch.arange, data.sizes))
    area = _select_images(data._make_views(), labels).sum((1, 2, 3)).view(*data.sizes[:3], -1)
    travel = side // 2 // positions * (positions - 1)
    expected = _draw_shapes(side + travel + 20, (side - travel - 1) / 2, 2, 4).sum((-2, -1))
    assert (area == expected.unsqueeze(-1)).all()


def test_areas_match_the_shapes_at_each_scale():
    drawings = _draw_shapes(301, 150, 3, 5) / 255
    heart = 3.6603 / 1.25**2  # the area of (x^2 + y^2 - 1)^3 = x^2 y^3
    areas = torch.tensor([2.0, math.pi / 2, heart]).view(3, 1, 1)
    radii = 150 * torch.tensor([0.5, 0.75, 1.0]).view(1, 3, 1)
    expected = (areas * radii**2).expand(3, 3, 5)
    torch.testing.assert_close(drawings.sum((-2, -1)), expected, rtol=0.02, atol=0)


def test_angles_are_counterclockwise():
    ellipses, hearts = _draw_shapes(94, 16.5, 1, 16)[1:, 0]
    assert torch.equal(ellipses[8], ellipses[0].rot90())
    assert torch.equal(hearts[4], hearts[0].rot90())
    first = hearts[1].nonzero().double().mean(0)  # (row, column), turned by 22.5 degrees
    upright = hearts[0].nonzero().double().mean(0)
    assert first[1] < upright[1]  # the upper half moves to the left


def test_at_angle_0_the_heart_is_upright_and_the_ellipse_horizontal():
    _, ellipse, heart = _draw_shapes(94, 16.5, 1, 1)[:, 0, 0]
    assert torch.equal(heart, heart.flip(1))
    width = heart.sum(1).nonzero().squeeze(1)
    assert heart[width[2]].sum() > 5 * heart[width[-1]].sum()  # lobes above, a point below
    assert (ellipse.sum(1) > 0).sum() * 2 == pytest.approx((ellipse.sum(0) > 0).sum(), abs=2)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_has_radius_1_and_no_period_shorter_than_its_own(shape):
    radius = torch.linspace(0.005, 1.1, 300).double().sqrt()
    angle = torch.linspace(0, 2 * math.pi, 1009).double()[:-1, None]
    u, v = radius * angle.cos(), radius * angle.sin()
    inside = shape.contains(u, v)
    assert (radius * inside).max() == pytest.approx(1, abs=0.01)
    steps = round(1008 * shape.period / (2 * math.pi))
    changed = [(inside != inside.roll(shift, 0)).double().mean() for shift in (steps, steps // 2)]
    assert changed[0] < 1e-4 < 0.02 < changed[1]


def test_images_are_binary_with_every_binarize():
    plain = load_sprites()
    assert (plain.pixels, plain.range) == ("binary", (0.0, 1.0))
    assert plain.splits["train"].images.unique().tolist() == [0, 255]
    for binarize in ("dynamic", "fixed"):
        data = load_sprites(binarize=binarize)
        for name in SPLITS:
            assert torch.equal(data.splits[name].images, plain.splits[name].images)
        x = data.splits["train"].images
        assert torch.equal(data.prepare(x, fresh=True), x / 255)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (3, 32, 32)}, r"data\.shape=\[3, 32, 32\]: .* as in data\.shape=\[1,64,64\]"),
        ({"shape": (1, 32, 64)}, r"square grayscale images \[1,side,side\]"),
        ({"positions": 17}, "the side is 32: set data.positions to at most 16"),
        ({"angles": 0}, "data.angles=0: it must be at least 1"),
        ({"scales": -1}, "data.scales=-1: it must be at least 1"),
        ({"dequantize": True}, "are binary: set data.dequantize=false"),
        ({"test": 0.0}, "data.test above 0"),
    ],
)
def test_invalid_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Sprites(**{**SMALL, **settings})
