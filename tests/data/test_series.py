import pytest
import torch

from vaelab.data.series import INVERTED, IRREGULAR, PERIODS, REGULAR, Series


def load_series(**settings):
    data = Series(**{"train": 300, "validation": 20, "test": 30, **settings})
    data.setup()
    return data


def find_peaks(x):
    """Return the steps of the largest peaks, which are those of R, of one lead (L,)."""
    inner = x[1:-1]
    is_peak = (inner > x[:-2]) & (inner >= x[2:]) & (inner > 0.55 * x.max())
    return is_peak.nonzero().flatten() + 1


def test_series_are_float32_in_splits_of_the_given_sizes():
    data = load_series()
    shapes = {name: tuple(split.images.shape) for name, split in data.splits.items()}
    assert shapes == {"train": (300, 2, 128), "val": (20, 2, 128), "test": (30, 2, 128)}
    assert data.splits["train"].images.dtype == torch.float32
    assert data.pixels == "real"
    assert data.splits["train"].labels.unique().tolist() == [REGULAR, INVERTED, IRREGULAR]


@pytest.mark.parametrize("shape", [(1, 128), (2, 61), (2, 500)])
def test_shape_sets_leads_and_length(shape):
    assert load_series(shape=shape).splits["train"].images.shape == (300, *shape)


def test_beats_cover_the_whole_series():
    x = load_series(noise=0.0, shape=(1, 600)).splits["train"].images[:, 0]
    assert x[:, :150].amax(1).min() > 0.5
    assert x[:, -150:].amax(1).min() > 0.5


def test_period_is_constant_except_in_irregular_series():
    x, labels = load_series(noise=0.0, shape=(1, 600)).splits["train"]
    spread = []
    for series in x[:, 0]:
        distance = find_peaks(series).diff().double()
        assert distance.min() >= 0.74 * PERIODS[0]
        assert distance.max() <= 1.26 * PERIODS[1]
        spread.append((distance.max() - distance.min()).item())
    spread = torch.tensor(spread)
    assert spread[labels != IRREGULAR].max() <= 2  # rounding to steps
    assert spread[labels == IRREGULAR].median() > 5


def test_t_wave_is_inverted_in_one_class():
    x, labels = load_series(noise=0.0).splits["train"]
    lowest = x[:, 0].amin(1)
    assert lowest[labels == INVERTED].max() < lowest[labels == REGULAR].min()


def test_noise_has_the_given_standard_deviation():
    x, clean = (load_series(noise=noise).splits["train"].images for noise in (0.1, 0.0))
    assert (x - clean).std().item() == pytest.approx(0.1, rel=0.02)


def test_series_depend_on_draw_and_not_on_seed():
    first, same, other = load_series(), load_series(seed=1), load_series(draw=1)
    for name in first.splits:
        assert torch.equal(first.splits[name].images, same.splits[name].images)
        assert not torch.equal(first.splits[name].images, other.splits[name].images)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (1, 28, 28)}, r"data\.shape=\[1, 28, 28\]: .* as in data\.shape=\[2,128\]"),
        ({"shape": (3, 128)}, "one or two leads"),
        ({"noise": -1.0}, r"data\.noise=-1.0: .* at least 0"),
        ({"train": 0}, "train=0, .* at least 1"),
        ({"draw": -1}, "data.draw=-1: it must be at least 0"),
    ],
)
def test_invalid_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Series(**settings)
