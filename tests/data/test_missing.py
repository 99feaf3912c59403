"""Missing values: NaN in x with data.missing=mask, and values deleted by data.missing_fraction."""

import numpy as np
import pytest
import tiny
import torch
from conftest import options, slow

import vaelab
from vaelab.data.arrays import ArrayData
from vaelab.data.description import describe_splits
from vaelab.data.mnist5k import MNIST5k
from vaelab.runs.run import RunParts

RANDOM = np.random.default_rng(0)
IS_MISSING = RANDOM.random((100, 4)) < 0.25
TABLE = np.where(IS_MISSING, np.nan, RANDOM.standard_normal((100, 4)))
BITS = np.where(IS_MISSING, np.nan, RANDOM.random((100, 4)) < 0.5)
LEVELS = np.where(IS_MISSING, np.nan, RANDOM.integers(0, 256, (100, 4)))
HALF = "data.missing_fraction=0.5"


def make(x, **settings):
    arrays = x if isinstance(x, dict) else {"x": x}
    data = ArrayData(arrays, "x.npz", missing="mask", **settings)
    data.setup()
    return data


def test_nan_is_refused_with_the_option_that_allows_it():
    with pytest.raises(vaelab.UserError, match=r"holds NaN.*, or set data.missing=mask for NaN$"):
        ArrayData({"x": TABLE}, "x.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.where(IS_MISSING, np.inf, TABLE)}, "x holds NaN, infinity"),
        ({"x": TABLE, "y": TABLE[:, 0]}, "y holds NaN, infinity"),
        ({"x": TABLE * np.nan}, "no value of the train split is observed"),
    ],
)
def test_other_values_that_cannot_be_used_are_refused(arrays, words):
    with pytest.raises(vaelab.UserError, match=words) as refusal:
        make(arrays)
    assert "data.missing" not in str(refusal.value)


@pytest.mark.parametrize(
    ("x", "settings", "pixels"),
    [
        (TABLE, {}, "real"),
        (BITS, {}, "binary"),
        (LEVELS, {"scale": 255}, "levels"),
        (LEVELS, {}, "real"),
        (LEVELS / 255, {"binarize": "dynamic"}, "binary"),
        (LEVELS / 255, {"binarize": "fixed"}, "binary"),
        (np.nan_to_num(BITS), {}, "binary"),
        (np.nan_to_num(LEVELS).astype(np.uint8), {}, "levels"),
    ],
)
def test_kind_and_range_are_those_of_the_observed_values(x, settings, pixels):
    data = make(x, **settings)
    assert data.pixels == pixels
    low, high = data.range
    if pixels == "real":
        assert (low, high) == (pytest.approx(np.nanmin(x)), pytest.approx(np.nanmax(x)))
    else:
        assert 0 <= low < high <= 1
    for split in ("train", "val", "test"):
        part = data.splits[split].images
        seen = data.prepare(part, fresh=split == "train")
        assert torch.equal(seen.isnan(), part.isnan())
        if pixels == "binary" and (settings.get("binarize") != "dynamic" or split != "train"):
            assert set(seen[~seen.isnan()].tolist()) <= {0.0, 1.0}


def test_new_samples_of_binary_pixels_keep_what_is_missing():
    data = make(LEVELS / 255, binarize="dynamic")
    x = data.prepare(data.splits["train"].images, fresh=True)
    assert set(x[~x.isnan()].tolist()) == {0.0, 1.0}
    assert 0.2 < x.isnan().float().mean() < 0.3


@pytest.mark.parametrize("binarize", ["none", "dynamic", "fixed"])
def test_deleted_values_are_known_and_a_function_of_the_seed(binarize):
    def build(seed, fraction=0.3):
        data = MNIST5k(seed=seed, binarize=binarize, missing_fraction=fraction)
        data.setup()
        return data

    data, again, other, complete = build(1), build(1), build(2), build(1, 0.0)
    for split in ("train", "test"):
        x, truth = data.splits[split].images, data.prepare(data.truth[split])
        is_missing = x.isnan()
        assert is_missing.float().mean() == pytest.approx(0.3, abs=0.003)
        assert torch.equal(x[~is_missing], truth[~is_missing])
        assert torch.equal(data.truth[split], complete.splits[split].images)
        assert torch.equal(is_missing, again.splits[split].images.isnan())
        assert not torch.equal(is_missing, other.splits[split].images.isnan())
    assert (data.pixels, data.range) == (complete.pixels, complete.range)
    assert not complete.truth
    assert not complete.has_missing


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"missing": "zero"}, "data.missing=zero: choose from refuse, mask"),
        ({"missing_fraction": 1.0}, r"data.missing_fraction=1.0: it must be in \[0, 1\)"),
        ({"missing_fraction": float("nan")}, "data.missing_fraction=nan"),
        ({"missing_fraction": 0.1, "dequantize": True}, "set data.dequantize=false"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, words):
    with pytest.raises(vaelab.UserError, match=words):
        ArrayData({"x": np.zeros((10, 3), np.uint8)}, "x.npz", **settings)


def test_description_counts_missing_values_by_column():
    x = RANDOM.standard_normal((1000, 3)) * 0.9
    x[::2, 1] = x[::10, 2] = np.nan
    found = describe_splits(make(x, columns=("age", "size", "mass")))
    train = make(x).splits["train"].images.isnan().sum(0).tolist()
    assert found.missing == sum(train)
    text = f"{sum(train):,} training values are missing ({sum(train) / 24:.3g} % of all): "
    assert text + f"{train[1]} in size, {train[2]} in mass" in found.line
    assert not found.warnings
    values = make(x).splits["train"].images.nan_to_num(0)
    assert (found.low, found.high) == (values.min().item(), values.max().item())


def test_description_finds_what_is_constant_or_equal_where_it_is_observed():
    x = TABLE.copy()
    x[:, 2] = np.where(IS_MISSING[:, 2], np.nan, 7.0)
    assert "1 of 4 columns are constant: x[:, 2]" in " ".join(describe_splits(make(x)).warnings)
    with pytest.raises(vaelab.UserError, match="training rows are equal"):
        describe_splits(make(np.tile([1.0, np.nan, 0.5], (50, 1))))


def test_model_of_complete_data_refuses_data_with_missing_values(config):
    run = RunParts.build(config())
    run.data = MNIST5k(missing_fraction=0.5)
    with pytest.raises(vaelab.UserError, match="missing values, but the model takes complete data"):
        run.load_data()


@pytest.mark.parametrize("missing", [False, True])
def test_fit_refuses_a_model_that_does_not_fit_the_data(missing):
    data = vaelab.make_data(TABLE if not missing else np.nan_to_num(TABLE), missing="mask")
    data.missing = "refuse" if missing else "mask"
    vae = vaelab.make_model(data.shape, 2, loss="gaussian", missing=missing)
    with pytest.raises(vaelab.UserError, match=f"make_model\\(data.shape, missing={not missing}"):
        vaelab.fit(vae, data, max_epochs=1)


MODELS = [
    tiny.TINY,
    ("model=conv", "model.channels=[4,4]", "latent_dim=3"),
    tiny.CONDITIONAL,
    tiny.LADDER,
    tiny.BOTTOM_UP,
    tiny.VQ,
    tiny.GUMBEL,
    (*tiny.TINY, "prior=vamp", "prior.components=5"),
]


@pytest.mark.parametrize("words", MODELS, ids=lambda words: words[0])
def test_every_kind_of_model_trains_with_missing_values(take_step, words):
    take_step(HALF, *words)


@pytest.mark.parametrize("objective", slow(*options("objective")))
def test_objectives_train_with_missing_values_or_refuse_them(take_step, objective):
    words = [f"objective={objective}", *tiny.TINY]
    if objective == "vq":
        words = [*tiny.VQ]
    if objective == "prior":
        pytest.skip("trains the prior of a finished run")
    if objective in ("vae_gan", "ms_ssim", "perceptual"):
        with pytest.raises(vaelab.UserError, match=f"objective={objective} compares whole images"):
            take_step(HALF, *words)
        return
    if objective in ("rae", "autoencoder"):
        words.append("posterior=deterministic")
    take_step(HALF, *words)


@pytest.mark.parametrize("loss", [each for each in options("loss") if each != "mixed"])
def test_likelihoods_train_with_missing_values(take_step, loss):
    words = ["data.binarize=none"]
    if loss in ("poisson", "negative_binomial", "zero_inflated_negative_binomial"):
        words = ["data.binarize=dynamic", "loss.exposure=none"]
    take_step(HALF, f"loss={loss}", *tiny.TINY, *words)


def test_table_with_columns_of_different_kinds_trains_with_missing_values():
    kinds = ["real", "binary", "categorical:2", "count"]
    x = np.tile([[0.5, 1, 0, 1, 3], [-0.5, 0, 1, 0, 8]], (20, 1)) + np.zeros((40, 5))
    x[np.random.default_rng(0).random(x.shape) < 0.3] = np.nan
    data = vaelab.make_data(x, kind=kinds, missing="mask")
    vae = vaelab.make_model((5,), 2, loss=f"mixed loss.columns=[{','.join(kinds)}]", missing=True)
    rows = data.splits["train"].images
    vae.initialize(rows)
    log_prob = vae.decode(vae.encode(rows).rsample()).log_prob(rows)
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert all(p.grad.isfinite().all() for p in vae.parameters() if p.grad is not None)


def test_values_are_deleted_before_they_are_standardized():
    x = np.random.default_rng(0).normal(1000, 50, (80, 3))
    data = vaelab.make_data(x, standardize=True, missing_fraction=0.3)
    again = ArrayData({"x": x}, "x", standardize=True, missing_fraction=0.3)
    again.standardization = data.standardization  # as in a run that is opened
    again.setup()
    first, second = (each.splits["train"].images for each in (data, again))
    assert torch.equal(first.nan_to_num(0), second.nan_to_num(0))
    assert 900 < first.nanmean() < 1100
