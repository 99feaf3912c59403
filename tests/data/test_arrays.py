import tracemalloc

import numpy as np
import pytest
import torch

from vaelab.data import array_files, arrays
from vaelab.data.arrays import Arrays
from vaelab.runtime.errors import UserError

WIDE = np.zeros((5, 4))


@pytest.fixture
def npz(tmp_path):
    def write_npz(**arrays):
        path = tmp_path / "x.npz"
        np.savez(path, **arrays)
        return str(path)

    return write_npz


def load_arrays(path, **settings):
    data = Arrays(path, **settings)
    data.setup()
    return data


def test_table_is_split_at_random_but_always_the_same_way(npz):
    x = np.arange(200.0).reshape(100, 2)
    first, second = (load_arrays(npz(x=x), seed=seed) for seed in (0, 1))
    assert [len(split.images) for split in first.splits.values()] == [80, 10, 10]
    assert torch.equal(first.splits["test"].images, second.splits["test"].images)
    rows = torch.cat([split.images for split in first.splits.values()])
    assert torch.equal(rows.sort(0).values, torch.from_numpy(x).float())
    assert (first.shape, first.pixels, first.range) == ((2,), "real", (0.0, 199.0))


def test_labels_stay_with_their_rows(npz):
    data = load_arrays(npz(x=np.arange(50.0)[:, None], y=np.arange(50)))
    for split in data.splits.values():
        assert torch.equal(split.images[:, 0].long(), split.labels)


def test_subset_of_rows_sorted_by_class_contains_all_classes(npz):
    labels = np.arange(10).repeat(100)
    names = ("train", "val", "test")
    arrays = {f"x_{name}": labels[:, None] for name in names}
    data = load_arrays(npz(**arrays, **{f"y_{name}": labels for name in names}))
    for split in names:
        found = torch.cat([y for _, y, _ in data.batches(split, 100)])
        assert len(found) == 100
        assert set(found.tolist()) == set(range(10))


def test_uint8_images_stay_uint8_and_can_be_reshaped(npz):
    x = np.random.default_rng(0).integers(0, 256, (20, 16), np.uint8)
    data = load_arrays(npz(x=x), shape=(1, 4, 4))
    assert data.splits["train"].images.shape == (16, 1, 4, 4)
    assert (data.pixels, data.range) == ("levels", (0.0, 1.0))


def test_split_in_the_file_is_used(npz):
    parts = {f"x_{name}": np.full((4, 3), i + 2) for i, name in enumerate(("train", "val", "test"))}
    data = load_arrays(npz(**parts))
    assert [split.images.unique().item() for split in data.splits.values()] == [2.0, 3.0, 4.0]
    assert data.splits["val"].labels.shape == (4, 0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 2))}, "has images, but it must have x"),
        ({"x": np.array([["a", "b"]])}, r"x must hold numbers, but its dtype is <U1: .* x\.astype"),
        ({"x": np.zeros(5)}, r"x must have shape \(N, \.\.\.\), .* is \(5,\)"),
        ({"x": np.zeros((20, 2)), "y": np.zeros(20, "M8[s]")}, "y must hold numbers"),
        ({"x": np.full((20, 2), 1e300)}, "beyond float32"),
        (
            {f"x_{n}": np.zeros((5, d)) for n, d in (("train", 2), ("val", 3), ("test", 2))},
            r"rows of x have different shapes \(x_train \[2\], x_val \[3\], x_test \[2\]\)",
        ),
        ({"x": np.array([[1.0, np.nan]])}, "holds NaN"),
        ({"x": np.zeros((20, 2)), "y": np.zeros(19)}, "y has 19 rows, but x has 20"),
        (
            {f"x_{n}": np.zeros((5, 2)) for n in ("train", "val", "test")}
            | {"y_train": WIDE[:, 0]},
            "has labels only in y_train: save y_train, y_val and y_test, or none",
        ),
        (
            {f"{k}_{n}": np.zeros((5, 2)) for n in ("train", "val") for k in "xy"}
            | {"x_test": np.zeros((5, 2)), "y_test": np.zeros(5)},
            "rows of y have different shapes",
        ),
        (
            {"x": np.array([[None, {}]], dtype=object)},
            "cannot be read as an npz file of numbers .*Object arrays",
        ),
    ],
)
def test_unusable_arrays_are_refused_with_a_reason(npz, arrays, message):
    with pytest.raises(ValueError, match=message):
        load_arrays(npz(**arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"x,y\n1,2\n"])
def test_error_of_other_files_says_how_to_write_an_npz(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"numpy\.savez"):
        Arrays(str(tmp_path / "x.npz"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (5,)}, r"data\.shape=\[5\], but .* \[2\]"),
        ({"test": 0.0}, "data.test above 0"),
        ({"validation": 0.9, "test": 0.2}, "sum below 1"),
        ({"binarize": "dynamic"}, r"data\.binarize=dynamic .* \[0, 199\]"),
    ],
)
def test_invalid_arguments_are_refused(npz, settings, message):
    with pytest.raises(ValueError, match=message):
        load_arrays(npz(x=np.arange(200.0).reshape(100, 2)), **settings)


@pytest.mark.parametrize("kind", [np.uint8, np.float64, bool])
def test_zeros_and_ones_are_binary_pixels(npz, kind):
    x = np.random.default_rng(0).integers(0, 2, (50, 4)).astype(kind)
    data = load_arrays(npz(x=x))
    assert data.pixels == "binary"
    assert set(data.prepare(data.splits["train"].images).unique().tolist()) == {0.0, 1.0}


def test_binarized_grayscale_pixels_have_the_range_of_binary_pixels(npz):
    data = load_arrays(npz(x=np.random.default_rng(0).random((50, 4))), binarize="dynamic")
    assert (data.pixels, data.range) == ("binary", (0.0, 1.0))
    assert not data.bits_sha256.keys() - {"val", "test"}


def test_channels_last_images_are_never_reshaped_to_channels_first(npz, caplog):
    x = np.zeros((20, 8, 8, 3))
    assert load_arrays(npz(x=x)).shape == (8, 8, 3)
    assert "x has shape [8, 8, 3], where the last axis looks like the channels" in caplog.text
    assert "save images (N, H, W, C) as x.transpose(0, 3, 1, 2)" in caplog.text
    with pytest.raises(ValueError, match=r"\[8, 8, 3\]: save images .* set data\.shape=null"):
        load_arrays(npz(x=x), shape=(3, 8, 8))
    assert load_arrays(npz(x=x.reshape(20, -1)), shape=(3, 8, 8)).shape == (3, 8, 8)


def test_other_arrays_of_a_file_are_ignored(npz):
    text = np.array("settings")
    assert load_arrays(npz(x=np.zeros((20, 2)), z=np.zeros((20, 1)), settings=text)).shape == (2,)


def test_an_array_that_expands_a_thousandfold_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((2000, 500), np.uint8))
    monkeypatch.setattr(array_files, "MIN_BOMB_BYTES", 10_000)
    with pytest.raises(ValueError, match=r"x\.npy expands from .* to 1,000,128 bytes"):
        Arrays(str(tmp_path / "x.npz"))
    np.savez(tmp_path / "x.npz", x=np.zeros((2000, 500), np.uint8))
    assert Arrays(str(tmp_path / "x.npz")).shape == (500,)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64, bool])
def test_reading_needs_little_more_memory_than_the_arrays(npz, dtype):
    x = np.random.default_rng(0).integers(0, 2, (4_000, 2_500)).astype(dtype)
    path, size = npz(x=x), x.nbytes
    del x
    tracemalloc.start()
    data = load_arrays(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.pixels == "binary"
    assert peak < 2.5 * size + 2 * 4_000 * 2_500 + 6 * arrays.CHUNK_BYTES


NAMES = ("train", "val", "test")
GREY = np.random.default_rng(0).integers(0, 256, (20, 1, 4, 4)).astype(np.uint8)


def split_arrays(**changes):
    return {f"x_{name}": changes.get(name, GREY) for name in NAMES}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": GREY / 255}, "x_train is uint8, but x_test is float64: save all splits with"),
        ({"val": GREY / 255.0}, "x_train is uint8, but x_val is float64"),
        ({"train": GREY.astype(int)}, "x_train is int64, but x_val is uint8"),
        (
            {"train": GREY.astype("f4"), "val": GREY / 255, "test": GREY / 255},
            r"deviation of x_train \(\[0, 255\]\) is 255 times that of x_val \(\[0, 1\]\)",
        ),
        (
            {"train": GREY / 65535, "val": GREY / 65535, "test": GREY / 255},
            r"x_train .* is 0\.00389 times that of x_test",
        ),
        ({"test": GREY // 128}, r"x_train .* times that of x_test"),
    ],
)
def test_splits_of_different_scale_are_refused(npz, changes, message):
    with pytest.raises(ValueError, match=message):
        load_arrays(npz(**split_arrays(**changes)))


def test_splits_of_equal_scale_are_accepted(npz):
    x = np.random.default_rng(0).standard_normal((300, 3))
    load_arrays(npz(x_train=x[:200], x_val=x[:0], x_test=x[200:205].astype("f4")))
    load_arrays(npz(x_train=x[:200], x_val=x[:1], x_test=3 * x[200:]))
    load_arrays(npz(**split_arrays(train=GREY > 99, val=(GREY > 99) * 1, test=GREY // 128)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("x", "x_test"), "has x, which is split at random, and x_test: rename x to x_train"),
        (("x", "y", "x_test", "y_test"), "and x_test, y_test"),
        (("x", "y_train"), "and y_train"),
        (("x_train", "x_val", "x_test", "y"), "the labels y of no split: save y_train"),
    ],
)
def test_arrays_that_would_be_ignored_are_refused(npz, names, message):
    parts = {name: np.arange(20) if name[0] == "y" else GREY for name in names}
    with pytest.raises(ValueError, match=message):
        load_arrays(npz(**parts))


def test_other_names_are_said(npz):
    data = load_arrays(npz(x=GREY, labels=np.arange(20), z=np.zeros(3)))
    assert data.conversions == ["uint8", "arrays that are ignored: labels, z"]


@pytest.mark.parametrize(
    ("bad", "columns", "message"),
    [
        (
            [(0, 1), (3, 1), (3, 4)],
            (),
            r"\(3 values in 2 of 20 rows, the first in row 0; 2 in x\[:, 1\], 1 ",
        ),
        (
            [(2, 0)],
            "abcde",
            r"\(1 values in 1 of 20 rows, the first in row 2; 1 in column a\): remove",
        ),
        ([(0, i) for i in range(8)], (), r"1 in x\[:, 4\], others in 3 more columns\)"),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_message_about_nan_says_how_many_and_where(bad, columns, message, value):
    x = np.random.default_rng(0).standard_normal((20, 8))
    for place in bad:
        x[place] = value
    with pytest.raises(ValueError, match=message):
        arrays.ArrayData({"x": x}, "x.npz", columns=list(columns))


def test_nan_in_images_and_labels_is_counted():
    x = np.zeros((20, 1, 4, 4))
    x[3, 0, 0, :2] = np.nan
    with pytest.raises(
        ValueError, match=r"float32 \(2 values in 1 of 20 rows, the first in row 3\)"
    ):
        arrays.ArrayData({"x": x}, "x.npz")
    y = np.array([np.nan] * 3 + [1.0] * 17)
    with pytest.raises(ValueError, match=r"y holds NaN.* \(3 values in 3 of 20 rows, the first"):
        arrays.ArrayData({"x": np.zeros((20, 2)), "y": y}, "x.npz")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64, np.uint16])
def test_scale_of_255_makes_levels_of_every_dtype(npz, dtype):
    data = load_arrays(npz(x=GREY.astype(dtype)), scale=255)
    assert (data.pixels, data.range) == ("levels", (0.0, 1.0))
    assert data.splits["train"].images.dtype == torch.uint8


@pytest.mark.parametrize(("scale", "high"), [(16, 255 / 16), (65535, 255 / 65535), (0.5, 510)])
def test_other_scales_divide(npz, scale, high):
    data = load_arrays(npz(x=GREY.astype(np.uint16)), scale=scale)
    assert data.pixels == "real"
    assert data.range[1] == pytest.approx(high, rel=0.02)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_scale_must_be_positive(npz, scale):
    with pytest.raises(ValueError, match=r"data\.scale=.*: it must be a positive number"):
        load_arrays(npz(x=GREY), scale=scale)


def test_converted_files_of_one_setting_are_not_used_for_another(tmp_path):
    x = np.zeros((40, 3), np.float32)
    x[::2] = 1
    np.save(tmp_path / "x.npy", x)

    def load(**settings):
        data = Arrays(str(tmp_path / "x.npy"), mapped=True, **settings)
        data.setup()
        return data

    assert load().splits["train"].images.dtype == torch.uint8
    counts = load(kind="count")
    assert counts.splits["train"].images.max() == 1
    assert counts.pixels == "count"
    x[3, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    assert load(missing="mask").splits["train"].images.dtype == torch.float32
    with pytest.raises(UserError, match="NaN"):
        load()
