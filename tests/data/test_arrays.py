import numpy as np
import pytest
import torch

from vaelab.data.arrays import Arrays

WIDE = np.zeros((5, 4))


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "x.npz"
        np.savez(path, **arrays)
        return str(path)

    return write


def loaded(path, **settings):
    data = Arrays(path, **settings)
    data.setup()
    return data


def test_a_table_is_split_at_random_but_always_the_same(npz):
    x = np.arange(200.0).reshape(100, 2)
    first, again = (loaded(npz(x=x), seed=seed) for seed in (0, 1))
    assert [len(split.images) for split in first.splits.values()] == [80, 10, 10]
    assert torch.equal(first.splits["test"].images, again.splits["test"].images)
    rows = torch.cat([split.images for split in first.splits.values()])
    assert torch.equal(rows.sort(0).values, torch.from_numpy(x).float())
    assert (first.shape, first.pixels, first.range) == ((2,), "real", (0.0, 199.0))


def test_labels_stay_with_their_rows(npz):
    data = loaded(npz(x=np.arange(50.0)[:, None], y=np.arange(50)))
    for split in data.splits.values():
        assert torch.equal(split.images[:, 0].long(), split.labels)


def test_uint8_pictures_stay_uint8_and_a_shape_of_as_many_numbers_reshapes(npz):
    x = np.random.default_rng(0).integers(0, 256, (20, 16), np.uint8)
    data = loaded(npz(x=x), shape=(1, 4, 4))
    assert data.splits["train"].images.shape == (16, 1, 4, 4)
    assert (data.pixels, data.range) == ("levels", (0.0, 1.0))


def test_a_file_that_is_already_split_is_taken_so(npz):
    parts = {f"x_{name}": np.full((4, 3), i + 2) for i, name in enumerate(("train", "val", "test"))}
    data = loaded(npz(**parts))
    assert [split.images.unique().item() for split in data.splits.values()] == [2.0, 3.0, 4.0]
    assert data.splits["val"].labels.shape == (4, 0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 2))}, "holds images: it must hold x"),
        ({"x": np.array([["a", "b"]])}, r"x must be numbers, not <U1"),
        ({"x": np.zeros(5)}, r"x must be of shape \(N, \.\.\.\)"),
        ({"x": np.zeros((20, 2)), "y": np.array(["a"] * 20)}, "y must be numbers"),
        ({"x": np.full((20, 2), 1e300)}, "beyond float32"),
        (
            {f"x_{n}": np.zeros((5, d)) for n, d in (("train", 2), ("val", 3), ("test", 2))},
            "shapes",
        ),
        ({"x": np.array([[1.0, np.nan]])}, "holds nan"),
        ({"x": np.zeros((20, 2)), "y": np.zeros(19)}, "y has 19 rows, x has 20"),
        (
            {f"x_{n}": np.zeros((5, 2)) for n in ("train", "val", "test")}
            | {"y_train": WIDE[:, 0]},
            "holds y_train: give labels to train, val and test, or to none",
        ),
        (
            {f"{k}_{n}": np.zeros((5, 2)) for n in ("train", "val") for k in "xy"}
            | {"x_test": np.zeros((5, 2)), "y_test": np.zeros(5)},
            "splits of y have different shapes",
        ),
        ({"x": np.array([[None, {}]], dtype=object)}, "no npz file of plain arrays"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(npz, arrays, message):
    with pytest.raises(ValueError, match=message):
        loaded(npz(**arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"x,y\n1,2\n"])
def test_a_file_that_is_none_says_what_to_write(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"numpy\.savez"):
        Arrays(str(tmp_path / "x.npz"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (5,)}, r"data\.shape=\[5\], but .* \[2\]"),
        ({"test": 0.0}, "test above 0"),
        ({"validation": 0.9, "test": 0.2}, "together below 1"),
        ({"binarize": "dynamic"}, r"data\.binarize=dynamic .* \[0, 199\]"),
    ],
)
def test_an_impossible_setting_is_refused(npz, settings, message):
    with pytest.raises(ValueError, match=message):
        loaded(npz(x=np.arange(200.0).reshape(100, 2)), **settings)


@pytest.mark.parametrize("kind", [np.uint8, np.float64, bool])
def test_zeros_and_ones_are_bits(npz, kind):
    x = np.random.default_rng(0).integers(0, 2, (50, 4)).astype(kind)
    data = loaded(npz(x=x))
    assert data.pixels == "binary"
    assert set(data.prepare(data.splits["train"].images).unique().tolist()) == {0.0, 1.0}


def test_greys_that_are_binarized_have_the_range_of_bits(npz):
    data = loaded(npz(x=np.random.default_rng(0).random((50, 4))), binarize="dynamic")
    assert (data.pixels, data.range) == ("binary", (0.0, 1.0))
    assert not data.bits_sha256.keys() - {"val", "test"}


def test_pictures_with_their_channels_last_are_never_read_in_another_order(npz, caplog):
    x = np.zeros((20, 8, 8, 3))
    assert loaded(npz(x=x)).shape == (8, 8, 3)
    message = "is [8, 8, 3] channels last? save pictures (N, H, W, C) as x.transpose(0, 3, 1, 2)"
    assert message in caplog.text
    with pytest.raises(ValueError, match=r"\[8, 8, 3\]: save pictures .* leave data\.shape=null"):
        loaded(npz(x=x), shape=(3, 8, 8))
    assert loaded(npz(x=x.reshape(20, -1)), shape=(3, 8, 8)).shape == (3, 8, 8)


def test_other_arrays_of_a_file_are_passed_over(npz):
    words = np.array("settings")
    assert loaded(npz(x=np.zeros((20, 2)), z=np.zeros((20, 1)), settings=words)).shape == (2,)
