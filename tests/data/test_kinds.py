"""`data.kind`: real numbers, counts, and columns of several kinds."""

import numpy as np
import pytest
import torch

import vaelab
from vaelab.data.arrays import Arrays
from vaelab.data.description import describe_splits

COUNTS = np.random.default_rng(0).poisson(3.0, (200, 4))
KINDS = ["real", "categorical:2", "count"]
ROWS = np.random.default_rng(0).normal(size=(200, 1))
ONE_HOT = np.eye(2)[np.arange(200) % 2]
MIXED = np.concatenate([ROWS, ONE_HOT, COUNTS[:, :1]], 1)


def load(tmp_path, x, **settings):
    np.savez(tmp_path / "x.npz", x=x)
    data = Arrays(str(tmp_path / "x.npz"), **settings)
    data.setup()
    return data


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_counts_are_kept_as_they_are(tmp_path, dtype):
    data = load(tmp_path, COUNTS.astype(dtype), kind="count")
    assert data.pixels == "count"
    x = torch.cat([data.prepare(split.images) for split in data.splits.values()])
    assert x.dtype == torch.float32
    assert torch.equal(x.sum(0), torch.from_numpy(COUNTS.sum(0)).float())
    assert f"counts in [0, {COUNTS.max()}]" in describe_splits(data).line


def test_counts_that_are_all_0_or_1_stay_counts(tmp_path):
    data = load(tmp_path, COUNTS.clip(0, 1), kind="count")
    assert data.pixels == "count"
    assert data.prepare(data.splits["train"].images).max() == 1


def test_whole_numbers_are_no_counts_unless_the_user_says_so(tmp_path):
    data = load(tmp_path, COUNTS.astype(np.float32))
    assert data.pixels == "real"
    assert "if they are counts, set data.kind=count" in " ".join(describe_splits(data).warnings)
    data = load(tmp_path, COUNTS.astype(np.float32), kind="real")
    assert data.pixels == "real"
    assert describe_splits(data).warnings == []


def test_columns_of_several_kinds_are_mixed(tmp_path):
    data = load(tmp_path, MIXED, kind=KINDS)
    assert data.pixels == "mixed"
    assert data.column_kinds == tuple(KINDS)
    assert "columns of several kinds in [" in describe_splits(data).line


@pytest.mark.parametrize(
    ("x", "settings", "message"),
    [
        (COUNTS - 1, {"kind": "count"}, r"x holds -1, but counts are"),
        (COUNTS + 0.5, {"kind": "count"}, r"x holds \d.5, but counts are"),
        (2**24 + 1 + 0 * COUNTS, {"kind": "count"}, r"from 0 to 2\^24"),
        (COUNTS, {"kind": "integer"}, "choose from auto, real, count"),
        (COUNTS, {"kind": "count", "scale": 10}, r"data\.scale=10 changes them"),
        (COUNTS, {"kind": "count", "binarize": "dynamic"}, r"data\.binarize=dynamic changes them"),
        (COUNTS, {"kind": "count", "dequantize": True}, "needs pixels with 256 levels"),
        (MIXED, {"kind": KINDS[:2]}, r"lists 3 columns, but x has shape \(N, 4\)"),
        (MIXED, {"kind": ["binary", *KINDS[1:]]}, r"x\[:, 0\] holds .* its kind is binary"),
        (1 - 0 * MIXED, {"kind": KINDS}, "no one-hot vectors"),
        (-MIXED, {"kind": ["real"] * 3 + ["count"]}, r"x\[:, 3\] holds -\d, but counts"),
    ],
)
def test_values_of_another_kind_are_refused(tmp_path, x, settings, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, x, **settings)


def test_make_data_takes_a_kind():
    assert vaelab.make_data(COUNTS, kind="count").pixels == "count"
    assert vaelab.make_data(MIXED, kind=KINDS).column_kinds == tuple(KINDS)


@pytest.mark.parametrize("kind", ["count", KINDS])
def test_python_run_of_counts_or_columns_evaluates_rows_of_its_kind(tmp_path, kind):
    is_count = kind == "count"
    mixed = f"mixed loss.columns=[{','.join(KINDS)}]"
    x, loss = (COUNTS, "negative_binomial") if is_count else (MIXED, mixed)
    data = vaelab.make_data(x, kind=kind)
    vae = vaelab.make_model(data.shape, 2, model="mlp model.hidden=[4]", loss=loss)
    run = vaelab.fit(vae, data, max_epochs=1, folder=tmp_path / "run")
    assert run.data.pixels == ("count" if is_count else "mixed")
    opened = vaelab.load(tmp_path / "run")
    assert torch.equal(opened.reconstruct(x[:5]), run.reconstruct(x[:5]))
    if is_count:  # at the total of each row
        totals = opened.reconstruct(x[:5]).sum(1)
        torch.testing.assert_close(totals, torch.from_numpy(x[:5].sum(1)).float())
