import pytest
import torch

from vaelab.data.toy2d import Toy2D


def load_toy2d(**settings):
    data = Toy2D(train=50, validation=20, test=30, **settings)
    data.setup()
    return data


def test_points_are_float32_pairs_in_splits_of_the_given_sizes():
    data = load_toy2d(name="moons")
    assert {name: tuple(x.shape) for name, (x, _) in data.splits.items()} == {
        "train": (50, 2),
        "val": (20, 2),
        "test": (30, 2),
    }
    assert data.splits["train"].images.dtype == torch.float32
    assert (data.shape, data.pixels) == ((2,), "real")
    assert data.splits["val"].labels.shape == (20, 0)


def test_points_depend_on_draw_and_not_on_seed():
    first, same, other = load_toy2d(), load_toy2d(seed=1), load_toy2d(draw=1)
    for name in first.splits:
        assert torch.equal(first.splits[name].images, same.splits[name].images)
        assert not torch.equal(first.splits[name].images, other.splits[name].images)


def test_no_point_is_in_two_splits():
    data = Toy2D()
    data.setup()
    points = torch.cat([x for x, _ in data.splits.values()])
    assert len(points.unique(dim=0)) == len(points) == 27_000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "square"}, "data.name=square: choose from ring, moons"),
        ({"train": 0}, "train=0, .* at least 1"),
        ({"validation": -1}, "validation=-1, .* at least 0"),
        ({"draw": -1}, "data.draw=-1: it must be at least 0"),
    ],
)
def test_invalid_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Toy2D(**settings)
