"""make_data: what it accepts, how it splits, and what it refuses."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import vaelab

X = np.arange(40 * 3, dtype=np.float32).reshape(40, 3)
Y = np.arange(40) % 4


class Pictures(Dataset):
    """Ten PIL images with labels."""

    def __init__(self, mode):
        self.mode = mode

    def __len__(self):
        return 10

    def __getitem__(self, number):
        return Image.new(self.mode, (5, 6), number), number


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.rand(10, 3))


def rows(data, part=0):
    data.setup()
    return torch.cat([split[part] for split in data.splits.values()])


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor, np.ndarray.tolist])
def test_rows_and_labels_stay_together(convert):
    data = vaelab.make_data(convert(X), convert(Y))
    assert data.shape == (3,)
    assert sorted(rows(data)[:, 0].tolist()) == X[:, 0].tolist()
    assert rows(data, 1).tolist() == [Y[int(row) // 3] for row in rows(data)[:, 0]]


def test_fractions_give_the_sizes_of_the_splits():
    data = vaelab.make_data(X, splits=(0.5, 0.25, 0.25))
    data.setup()
    assert [len(split.images) for split in data.splits.values()] == [20, 10, 10]


def test_a_dict_gives_the_splits():
    data = vaelab.make_data({"train": (X[:30], Y[:30]), "test": (X[30:], Y[30:])})
    data.setup()
    assert torch.equal(data.splits["test"].labels, torch.from_numpy(Y[30:]))
    assert [len(split.images) for split in data.splits.values()] == [30, 0, 10]


def test_a_data_frame_gives_its_label_column():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"]).assign(kind=["cat", "ant"] * 20)
    data = vaelab.make_data(frame, "kind")
    assert (data.shape, sorted(set(rows(data, 1).tolist()))) == ((3,), [0, 1])
    first = next(i for i, row in enumerate(rows(data)) if row[0] == 0)
    assert rows(data, 1)[first] == 1  # cat is the second name in alphabetical order
    with pytest.raises(vaelab.UserError, match="columns without numbers: kind"):
        vaelab.make_data(frame)
    with pytest.raises(vaelab.UserError, match="y=sort: the columns are a, b, c, kind"):
        vaelab.make_data(frame, "sort")


@pytest.mark.parametrize(("mode", "shape"), [("L", (1, 6, 5)), ("RGB", (3, 6, 5))])
def test_pil_images_become_channels_first(mode, shape):
    data = vaelab.make_data(Pictures(mode))
    assert (data.shape, rows(data).dtype) == (shape, torch.uint8)
    assert sorted(rows(data, 1).tolist()) == [*range(10)]


def test_torch_data_sets_are_read_whole():
    data = vaelab.make_data(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)))
    assert sorted(rows(data)[:, 0].tolist()) == X[:, 0].tolist()
    assert vaelab.make_data(Stream()).shape == (3,)


def test_the_kind_of_values_is_that_of_arrays():
    kinds = {"binary": X > 5, "levels": X.astype(np.uint8), "real": X}
    for kind, x in kinds.items():
        data = vaelab.make_data(x)
        data.setup()
        assert data.pixels == kind


@pytest.mark.parametrize(
    ("x", "settings", "message"),
    [
        (X, {"splits": (0.5, 0.5)}, "three fractions that sum to 1"),
        (X, {"splits": (0.8, 0.8, 0.1)}, "three fractions that sum to 1"),
        (X, {"y": Y[:5]}, "y has 5 rows, but x has 40"),
        ({"train": X}, {}, "x has the splits train: give train and test"),
        ({"train": X, "test": X, "y": Y}, {}, "give train and test"),
        ({"train": X, "test": X}, {"y": Y}, "give pairs"),
        ([["a", "b"]], {}, "x must hold numbers"),
        (X, {"binarize": "sometimes"}, "choose from none, dynamic, fixed"),
        (np.full((5, 2), np.nan), {}, "NaN"),
    ],
)
def test_unusable_data_are_refused(x, settings, message):
    with pytest.raises(vaelab.UserError, match=message):
        vaelab.make_data(x, **settings)


def test_names_of_classes_have_the_same_numbers_in_all_splits():
    data = vaelab.make_data(
        {"train": (X[:20], ["a", "b"] * 10), "test": (X[20:30], ["b"] * 10)}, scale=1
    )
    assert data.splits["train"].labels.tolist() == [0, 1] * 10
    assert data.splits["test"].labels.tolist() == [1] * 10
    assert "labels are numbered: 0 a, 1 b" in data.description.line


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_labels_are_counted(missing):
    with pytest.raises(vaelab.UserError, match="y: 2 of 40 labels are missing"):
        vaelab.make_data(X, ["a"] * 38 + [missing] * 2)


def test_numbers_among_objects_stay_numbers():
    data = vaelab.make_data(X, np.array([*range(40)], object))
    assert sorted(rows(data, 1).tolist()) == [*range(40)]


@pytest.mark.parametrize("dtype", ["float64", "Float64", "object"])
def test_nan_in_a_data_frame_is_named_by_column(dtype):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["age", "height", "mass"]).assign(kind="a")
    frame.loc[[1, 4], "height"] = None
    if dtype == "object":
        frame["kind"] = 1
        dtype = "float64"
    frame["height"] = frame["height"].astype(dtype)
    message = r"\(2 values in 2 of 40 rows, the first in row 1; 2 in column height\)"
    with pytest.raises(vaelab.UserError, match=message):
        vaelab.make_data(frame, "kind")
    splits = {"train": (frame[["age", "height"]], frame["kind"]), "test": frame[["age", "height"]]}
    with pytest.raises(vaelab.UserError, match="2 in column height"):
        vaelab.make_data(splits | {"test": splits["train"]})


def test_scale_makes_levels():
    data = vaelab.make_data(np.arange(256.0).reshape(64, 4), scale=255)
    assert data.pixels == "levels"


def make_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["age", "height", "mass"])
    return frame.assign(kind=["cat", "dog"] * 20, size=[10, 2, 5, 2] * 10)


def test_columns_of_words_of_a_data_frame_become_one_hot():
    data = vaelab.make_data(make_frame(), "size", categories="onehot")
    assert list(data.columns) == ["age", "height", "mass", "kind=cat", "kind=dog"]
    rows = torch.cat([split.images for split in data.splits.values()])
    assert rows[:, 3:].sum(0).tolist() == [20, 20]
    assert "one-hot columns: kind" in data.description.line


def test_one_hot_columns_are_the_same_in_all_splits():
    frame = make_frame()
    splits = {"train": frame[:20], "test": frame[frame.kind == "dog"]}
    data = vaelab.make_data(splits, categories="onehot")
    assert data.splits["test"].images[:, 3].unique().tolist() == [0]
    with pytest.raises(vaelab.UserError, match="the columns of test are not those"):
        vaelab.make_data({"train": frame, "test": frame.drop(columns="age")})


def test_factors_are_columns_of_a_data_frame_or_of_y():
    data = vaelab.make_data(make_frame(), factors=["kind", "size"])
    assert (data.factors, data.unordered, data.shape) == (("kind", "size"), ("kind",), (3,))
    assert sorted(data.splits["train"].labels[:, 1].unique().tolist()) == [0, 1, 2]
    y = np.stack([np.arange(40) % 2, np.arange(40) % 3], 1)
    data = vaelab.make_data(X, y, factors=["odd", "third"], unordered=["third"])
    assert data.unordered == ("third",)
    with pytest.raises(vaelab.UserError, match=r"y has 2 columns, but .* names 1"):
        vaelab.make_data(X, y, factors=["odd"])


class Streamed(torch.utils.data.IterableDataset):
    def __iter__(self):
        return ((row, number % 3) for number, row in enumerate(X.astype(np.float32)))


def test_iterable_data_set_is_written_to_the_cache_and_mapped(tmp_path):
    data = vaelab.make_data(Streamed(), cache=tmp_path / "cache")
    known = vaelab.make_data(X, np.arange(40) % 3)
    for name in known.splits:
        for a, b in zip(data.splits[name], known.splits[name], strict=True):
            assert torch.equal(a, b)
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {"x.npy", "y.npy"}
    with pytest.raises(vaelab.UserError, match="give a torch data set"):
        vaelab.make_data(X, cache=tmp_path)


@pytest.mark.parametrize("items", [[], [np.zeros(3), np.zeros(4)]])
def test_items_that_differ_are_refused_and_leave_no_file(items, tmp_path):
    class Items(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(items)

    with pytest.raises(vaelab.UserError, match=r"no items|item 1 has shape"):
        vaelab.make_data(Items(), cache=tmp_path)
    assert not list(tmp_path.iterdir())
