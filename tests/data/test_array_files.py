"""Files of numbers: every format gives the same tensors, and a damaged file gives one line."""

import itertools
import pickle
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from vaelab.data import array_files, arrays
from vaelab.data.arrays import Arrays
from vaelab.data.description import announce_data
from vaelab.runtime.errors import UserError

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
h5py = pytest.importorskip("h5py")
pandas = pytest.importorskip("pandas")

TABLES = ("csv", "tsv", "parquet", "feather")
CONTAINERS = ("npz", "npy", "h5")
FORMATS = (*TABLES, *CONTAINERS, "h5ad")
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(40, 3)) * [1, 10, 100]
WORDS = GENERATOR.choice(["cat", "dog", "eel"], 40)
SIZE = GENERATOR.choice([10, 2, 5], 40)
NAMES = ["a", "b", "c"]


def write_file(folder, ending, x=X, **columns):
    """Write x with labels or factors, and return the path; npy is a folder of several files."""
    path = folder / f"t.{ending}"
    if ending in TABLES:
        names = NAMES[: x.shape[1]]
        table = pandas.DataFrame({**dict(zip(names, x.T, strict=True)), **columns})
        if ending in ("csv", "tsv"):
            table.to_csv(path, sep="\t" if ending == "tsv" else ",", index=False)
        elif ending == "parquet":
            table.to_parquet(path, row_group_size=7)
        else:
            table.to_feather(path, chunksize=7)
    elif ending == "npz":
        np.savez(path, x=x, **columns)
    elif ending == "npy":
        path = folder / "npy"
        path.mkdir()
        for name, array in {"x": x, **columns}.items():
            np.save(path / f"{name}.npy", array)
    elif ending == "h5":
        with h5py.File(path, "w") as file:
            for name, array in {"x": x, **columns}.items():
                is_text = array.dtype.kind == "U"
                file.create_dataset(name, data=array.astype(object) if is_text else array)
    else:
        write_h5ad(path, x, columns)
    return str(path)


def write_h5ad(path, x, columns, kind="dense"):
    from scipy import sparse

    with h5py.File(path, "w") as file:
        if kind == "dense":
            file["X"] = x
        else:
            matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[kind](x)
            group = file.create_group("X")
            group.attrs.update({"encoding-type": f"{kind}_matrix", "shape": x.shape})
            for name in ("data", "indices", "indptr"):
                group[name] = getattr(matrix, name)
        var = file.create_group("var")
        var.attrs["_index"] = "genes"
        var["genes"] = np.array(NAMES[: x.shape[1]], object)
        obs = file.create_group("obs")
        for name, values in columns.items():
            if values.dtype.kind == "U":
                categories, codes = np.unique(values, return_inverse=True)
                column = obs.create_group(name)
                column["codes"] = codes.astype(np.int8)
                column["categories"] = categories.astype(object)
            else:
                obs[name] = values


def load_file(path, **settings):
    data = Arrays(path, **settings)
    data.setup()
    return data


def same_splits(first, second):
    return all(
        torch.equal(a, b)
        for name in first.splits
        for a, b in zip(first.splits[name], second.splits[name], strict=True)
    )


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_tensors(tmp_path, ending, mapped):
    known = load_file(write_file(tmp_path, "npz", y=WORDS))
    data = load_file(
        write_file(tmp_path, ending, kind=WORDS), label="kind", mapped=mapped, cache=str(tmp_path)
    )
    assert same_splits(data, known)
    assert data.shape == (3,)
    assert "labels are numbered: 0 cat, 1 dog, 2 eel" in data.conversions
    if ending in (*TABLES, "h5ad"):
        assert list(data.columns) == NAMES


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float32, np.int64])
@pytest.mark.parametrize("ending", ["npy", "h5"])
def test_mapped_images_are_those_in_memory(tmp_path, ending, dtype, mapped, monkeypatch):
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 500)
    x = np.random.default_rng(1).integers(0, 2 if dtype is bool else 200, (50, 1, 4, 4))
    path = write_file(tmp_path, ending, x.astype(dtype), y=np.arange(50))
    data, known = load_file(path, mapped=mapped), load_file(path, mapped=False)
    assert same_splits(data, known)
    assert (data.pixels, data.range) == (known.pixels, known.range)
    assert data.conversions == known.conversions
    again = load_file(path, mapped=mapped)
    assert same_splits(again, known)
    assert again.conversions == known.conversions


def test_given_splits_of_npy_files_are_mapped_without_a_copy(tmp_path):
    for name in ("train", "val", "test"):
        np.save(tmp_path / f"x_{name}.npy", np.full((4, 2), 7 + len(name), np.float32))
    data = load_file(str(tmp_path), mapped=True)
    assert [split.images.unique().tolist() for split in data.splits.values()] == [[12], [10], [11]]
    assert [file.suffix for file in (tmp_path / ".." / ".vaelab-cache").resolve().iterdir()] == [
        ".json"
    ]


def test_changed_file_is_converted_again(tmp_path):
    path = write_file(tmp_path, "h5")
    load_file(path, mapped=True)
    write_file(tmp_path, "h5", x=X + 1)
    assert same_splits(load_file(path, mapped=True), load_file(path, mapped=False))


def test_binarized_pixels_of_a_mapped_file_are_those_in_memory(tmp_path):
    x = np.random.default_rng(1).integers(0, 256, (50, 1, 4, 4), np.uint8)
    path = write_file(tmp_path, "h5", x)
    data, known = (load_file(path, mapped=m, binarize="fixed") for m in (True, False))
    assert same_splits(data, known)
    assert data.bits_sha256 == known.bits_sha256


def test_large_file_is_mapped_without_being_asked(tmp_path, monkeypatch):
    path = write_file(tmp_path, "parquet")
    monkeypatch.setattr(arrays, "MAX_IN_MEMORY", 100)
    data = load_file(path)
    assert list((tmp_path / ".vaelab-cache").glob("*.npy"))
    assert same_splits(data, load_file(path, mapped=False))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs RssAnon of Linux")
@pytest.mark.parametrize("ending", ["npy", "h5", "parquet"])
def test_mapped_file_takes_no_anonymous_memory(tmp_path, ending):
    rows = np.random.default_rng(0).normal(size=(200_000, 64)).astype(np.float32)  # 51 MB
    if ending == "parquet":
        path = str(tmp_path / "t.parquet")
        table = pa.table({f"c{number}": column for number, column in enumerate(rows.T.copy())})
        pa.parquet.write_table(table, path, row_group_size=10_000)
        del table
    else:
        path = write_file(tmp_path, ending, rows)
    expected = rows.min().item(), rows.max().item()
    del rows
    pa.default_memory_pool().release_unused()
    before = read_anonymous_mb()
    data = load_file(path, mapped=True)
    announce_data(data)
    assert data.range == pytest.approx(expected)
    assert data.pixels == "real"
    for _ in data.train_dataloader():
        pass
    pa.default_memory_pool().release_unused()
    assert read_anonymous_mb() - before < 25


def read_anonymous_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


@pytest.mark.parametrize("ending", FORMATS)
def test_factors_become_integers_in_ascending_order(tmp_path, ending):
    path = write_file(tmp_path, ending, kind=WORDS, size=SIZE)
    data = load_file(path, factors=["kind", "size"], unordered=["kind"])
    known = load_file(write_file(tmp_path, "npz"))
    assert (data.factors, data.unordered) == (("kind", "size"), ("kind",))
    assert torch.equal(data.splits["train"].images, known.splits["train"].images)
    labels = torch.cat([split.labels for split in data.splits.values()])
    codes = {"cat": 0, "dog": 1, "eel": 2, 2: 0, 5: 1, 10: 2}
    pairs = zip(WORDS.tolist(), SIZE.tolist(), strict=True)
    expected = {(codes[word], codes[size]) for word, size in pairs}
    assert {tuple(row) for row in labels.tolist()} == expected


def test_factors_name_the_columns_of_y(tmp_path):
    np.savez(tmp_path / "x.npz", x=X, y=np.stack([SIZE, SIZE % 2], 1))
    data = load_file(str(tmp_path / "x.npz"), factors=["size", "odd"])
    assert data.splits["train"].labels.amax(0).tolist() == [2, 1]


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
@pytest.mark.parametrize("mapped", [False, True])
def test_matrix_of_an_h5ad_file_may_be_sparse(tmp_path, kind, mapped):
    x = np.random.default_rng(2).poisson(0.3, (60, 3)).astype(np.float32) * 3
    write_h5ad(tmp_path / "t.h5ad", x, {}, kind)
    data = load_file(str(tmp_path / "t.h5ad"), mapped=mapped)
    known = load_file(write_file(tmp_path, "npz", x))
    assert same_splits(data, known)


@pytest.mark.parametrize("ending", TABLES)
def test_columns_of_words_are_refused_by_name_or_become_one_hot(tmp_path, ending):
    path = write_file(tmp_path, ending, kind=WORDS)
    with pytest.raises(UserError, match=r"columns without numbers: kind \('\w+' in row 0,"):
        Arrays(path)
    data = load_file(path, categories="onehot")
    assert list(data.columns) == [*NAMES, "kind=cat", "kind=dog", "kind=eel"]
    rows = torch.cat([split.images for split in data.splits.values()])
    assert torch.equal(rows[:, 3:].sum(1), torch.ones(40))
    counts = [int((word == WORDS).sum()) for word in ("cat", "dog", "eel")]
    assert rows[:, 3:].sum(0).tolist() == counts
    assert load_file(path, x=["a", "c"]).shape == (2,)


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_column_of_lists_gives_images(tmp_path, ending):
    images = np.random.default_rng(3).integers(0, 256, (20, 16), np.uint8)
    table = pandas.DataFrame({"pixels": list(images), "digit": range(20)})
    path = tmp_path / f"t.{ending}"
    table.to_parquet(path) if ending == "parquet" else table.to_feather(path)
    data = load_file(str(path), shape=(1, 4, 4), label="digit")
    for split in data.splits.values():
        assert np.array_equal(split.images.flatten(1), images[split.labels])
    assert data.pixels == "levels"


def test_csv_without_names_and_with_an_index_is_read_as_meant(tmp_path):
    path = tmp_path / "t.csv"
    np.savetxt(path, X, delimiter=",")
    data = load_file(str(path))
    assert sum(len(split.images) for split in data.splits.values()) == 40
    assert "no line with names, so columns are called f0, f1, ..." in data.conversions
    pandas.DataFrame(X).to_csv(path)
    data = load_file(str(path))
    assert list(data.columns) == ["0", "1", "2"]
    assert "columns that number the rows are left out: ''" in data.conversions


TEXTS = {
    "ragged": ("a,b\n1,2\n3\n", r"t\.csv cannot be read .*Expected 2 columns, got 1"),
    "word": ("a,b\n1,2\n3,x\n", r"t\.csv: columns without numbers: b \('x' in row 1,"),
    "hole": ("a,b\n1,2\n3,\n", r"t\.csv: x holds NaN.* row 1; 1 in column b"),
    "infinite": ("a,b\n1,2\n3,inf\n", r"t\.csv: x holds NaN.* row 1; 1 in column b"),
    "empty": ("", r"t\.csv cannot be read as a csv file"),
    "no rows": ("a,b\n", "the train split has no images"),
    "twice": ("a,a\n1,2\n", "several columns are called 'a'"),
    "semicolons": ("a;b\n1;2\n", "separated by ';', not by ','"),
    "dates": ("a,b\n1,2020-01-01\n2,2020-01-02\n", r"columns without numbers or words: b \(date"),
    "latin": (b"a,b\n1,\xe9\n2,\xe8\n", "b"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_error_of_a_csv_file_names_file_column_and_row(tmp_path, case):
    text, message = TEXTS[case]
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as raised:
        load_file(str(tmp_path / "t.csv"), test=0.5, validation=0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["empty", "text", "half", "zeros", "pickle"])
@pytest.mark.parametrize("ending", [*FORMATS])
def test_damaged_file_gives_one_line(tmp_path, ending, damage):
    path = write_file(tmp_path, ending, y=SIZE)
    if ending == "npy":
        path = f"{path}/x.npy"
    with open(path, "rb") as file:
        content = file.read()
    half = len(content) // 2
    damaged = {
        "empty": b"",
        "text": b"no such format \xff",
        "half": content[:half],
        "zeros": content[:half] + bytes(len(content) - half),
        "pickle": pickle.dumps(X),
    }[damage]
    with open(path, "wb") as file:
        file.write(damaged)
    if damage == "zeros" or (damage == "half" and ending in ("csv", "tsv")):
        with suppress(UserError):  # zeros may be numbers, and half of a text is a text
            load_file(path)
        return
    with pytest.raises(UserError, match=re.escape(path)) as raised:
        load_file(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_objects_are_never_unpickled(tmp_path, ending):
    path = write_file(tmp_path, ending, x=np.array([[1, {}]], object))
    with pytest.raises(UserError, match="cannot be read"):
        load_file(path)


@pytest.mark.parametrize("ending", ["npz", "parquet", "h5", "h5ad"])
def test_small_file_that_would_fill_the_memory_is_refused(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(array_files, "MIN_BOMB_BYTES", 100_000)
    zeros, path = np.zeros((200_000, 3)), tmp_path / f"t.{ending}"
    if ending == "npz":
        np.savez_compressed(path, x=zeros)
    elif ending == "parquet":
        pandas.DataFrame(zeros, columns=NAMES).to_parquet(path)
    else:
        with h5py.File(path, "w") as file:
            name = "x" if ending == "h5" else "X"
            file.create_dataset(name, zeros.shape, "f8", chunks=(1000, 3), compression="gzip")
    with pytest.raises(UserError, match="expands from"):
        Arrays(str(path))


def test_hdf5_file_cannot_read_other_files(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = X
    (tmp_path / "raw").write_bytes(bytes(800))
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "x")
        file.create_dataset("x", (100,), "f8", external=[(str(tmp_path / "raw"), 0, 800)])
        layout = h5py.VirtualLayout((40, 3), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (40, 3))
        file.create_virtual_dataset("virtual", layout)
    elsewhere = "lies in another"
    for name, message in (("x", elsewhere), ("virtual", elsewhere), ("link", "has")):
        with pytest.raises(UserError, match=message):
            Arrays(str(tmp_path / "t.h5"), x=name)


SETTINGS = [
    ({"x": ["a", "nothing"]}, "'nothing', which is no column"),
    ({"label": "kinds"}, "'kinds', which is no column: did you mean kind"),
    ({"x": ["a", "kind"], "label": "kind"}, "'kind' is in data.x and is a label"),
    ({"label": "kind", "factors": ["kind"]}, "leave out data.label"),
    ({"label": "kind", "unordered": ["kind"]}, "name all factors in data.factors"),
    ({"factors": ["kind"], "unordered": ["size"]}, "data.unordered names size"),
    ({"categories": "one-hot"}, "choose from refuse, onehot"),
    ({"label": "kind", "standardize": True, "binarize": "dynamic"}, "leave out data.binarize"),
]


@pytest.mark.parametrize(("settings", "message"), SETTINGS)
def test_settings_that_do_not_fit_a_table_are_refused(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        load_file(write_file(tmp_path, "parquet", kind=WORDS), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"x": ["x"]}, "name one array"),
        ({"x": "images"}, "has x, kind, but it must have images"),
        ({"label": "z"}, "has x, kind: name one of them"),
        ({"factors": ["z"]}, "name arrays of it"),
    ],
)
def test_settings_that_do_not_fit_arrays_are_refused(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        load_file(write_file(tmp_path, "npz", kind=WORDS), **settings)


def test_unknown_ending_lists_the_known_ones(tmp_path):
    (tmp_path / "x.xlsx").write_bytes(b"")
    with pytest.raises(UserError, match=r"the ending \.xlsx is not known: .*\.parquet"):
        Arrays(str(tmp_path / "x.xlsx"))


@pytest.mark.parametrize(("ending", "package"), [("csv", "pyarrow"), ("h5", "h5py")])
def test_missing_package_gives_the_command_that_installs_it(tmp_path, ending, package, monkeypatch):
    path = write_file(tmp_path, ending)
    monkeypatch.setattr("vaelab.runtime.errors.find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"{package} is not installed: .*vaelab\[files\]"):
        Arrays(path)


@pytest.mark.parametrize(
    ("ending", "mapped"), [*itertools.product(["npz", "parquet"], [False, True])]
)
def test_standardized_columns_use_the_training_rows_only(tmp_path, ending, mapped):
    path = write_file(tmp_path, ending, kind=WORDS)
    data = load_file(path, label="kind", standardize=True, mapped=mapped, cache=str(tmp_path))
    train = data.splits["train"].images.double()
    seen = data.prepare(data.splits["train"].images).double()
    assert torch.allclose(seen.mean(0), torch.zeros(3, dtype=torch.double), atol=1e-6)
    assert torch.allclose(seen.std(0, correction=0), torch.ones(3, dtype=torch.double))
    assert torch.allclose(data.standardization.mean.double(), train.mean(0), rtol=1e-5)
    test = data.splits["test"].images
    assert torch.allclose(data.standardization.undo(data.prepare(test)), test, atol=1e-4)
    low, high = data.range
    assert low < 0 < high < 10
    assert data.pixels == "real"


def test_standardization_of_images_is_by_channel_and_keeps_constant_ones(tmp_path):
    x = np.random.default_rng(4).integers(0, 256, (30, 2, 4, 4), np.uint8)
    x[:, 1] = 7
    data = load_file(write_file(tmp_path, "npz", x), standardize=True)
    assert data.standardization.mean.shape == (2, 1, 1)
    seen = data.prepare(data.splits["train"].images)
    assert abs(seen[:, 0].mean()) < 1e-6
    assert seen[:, 1].abs().max() < 1e-6
