"""What is said about a data set before the training, and what is refused."""

import json
import re

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import vaelab
from vaelab.data import description
from vaelab.data.arrays import ArrayData
from vaelab.data.description import announce_data, describe_splits
from vaelab.report.folder import RunFolder

RANDOM = np.random.default_rng(0)
UNIFORM = RANDOM.random((100, 1, 6, 6), np.float32)
LEVELS = RANDOM.integers(0, 256, (100, 1, 6, 6), np.uint8)
TABLE = RANDOM.standard_normal((100, 3))


def describe(x, y=None, **settings):
    arrays = {"x": x} | ({} if y is None else {"y": y})
    data = ArrayData(arrays, "x.npz", **settings)
    data.setup()
    return describe_splits(data)


def warnings(x, y=None, **settings):
    return " ".join(describe(x, y, **settings).warnings)


@pytest.mark.parametrize(
    ("x", "y", "settings", "words"),
    [
        (LEVELS, np.arange(100) % 10, {}, "images 1x6x6, 256 levels in [0, 1], 10 labels; uint8"),
        (UNIFORM > 0.5, None, {}, "images 1x6x6, binary pixels in [0, 1], no labels; bool, kept"),
        (TABLE, None, {}, "rows of 3 columns, real numbers in ["),
        (UNIFORM[:, 0, :2], None, {}, "series of 2 channels and 6 steps, real numbers in ["),
        (UNIFORM.reshape(-1, 1, 3, 4, 3), None, {}, "volumes 1x3x4x3, real numbers in ["),
        (TABLE, None, {}, "float64, not scaled, kept as float32"),
        (TABLE, TABLE[:, 0], {}, "one number as label"),
        (TABLE, TABLE[:, :2] > 0, {}, "2 attributes"),
        (LEVELS, None, {"dequantize": True}, "256 levels, dequantized"),
        (LEVELS, None, {"binarize": "dynamic"}, "sampled as 0 or 1 each time they are seen"),
        (LEVELS, None, {"binarize": "fixed"}, "sampled as 0 or 1 once"),
        (LEVELS.astype(int), None, {"scale": 255}, "256 levels in [0, 1], no labels; int64, kept"),
        (UNIFORM * 7, None, {"scale": 7}, "float32, divided by 7"),
    ],
)
def test_line_says_what_was_read(x, y, settings, words):
    line = describe(x, y, **settings).line
    assert line.startswith("data: 80 train, 10 val, 10 test ")
    assert words in line


@pytest.mark.parametrize("make", [lambda u: u > 0.5, lambda u: u])
def test_series_that_look_like_images_get_a_warning(make):
    square = np.random.default_rng(0).random((100, 9, 9))
    hint = r"taken as series of 9 channels and 9 steps: .* data\.shape=\[1,9,9\]"
    assert re.search(hint, warnings(make(square)))
    assert "taken as series" not in warnings(make(square[:, :3]))
    assert "taken as series" not in warnings(make(square[:, None]))


def test_real_series_of_many_channels_get_no_warning():
    assert "taken as series" not in warnings(np.random.default_rng(0).random((100, 9, 30)))


@pytest.mark.parametrize("make", [lambda n: np.zeros((n, 3)), lambda n: np.ones((n, 1, 4, 4))])
@pytest.mark.parametrize("count", [20, 2_500])
def test_training_images_that_are_all_equal_are_refused(make, count):
    x = make(count)
    noun = "images" if x.ndim == 4 else "rows"
    with pytest.raises(vaelab.UserError, match=rf"^all [\d,]+ training {noun} are equal: look"):
        describe(x)
    x[-1] += 1  # is it among the training images?
    x[: count // 2] += 1
    assert describe(x).examined > 0


def test_a_single_training_image_is_accepted():
    description = describe(np.arange(9.0).reshape(3, 3) / 9, validation=0.3, test=0.4)
    assert description.sizes == {"train": 1, "val": 1, "test": 1}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16, np.int32])
@pytest.mark.parametrize(("largest", "scale"), [(16, 16), (255, 255), (4000, 4095), (65535, 65535)])
def test_whole_numbers_that_are_not_scaled_are_said(dtype, largest, scale):
    x = RANDOM.integers(0, largest + 1, (100, 6, 6)).astype(dtype)
    x[:, 0, 0] = largest
    assert f"if they are levels of a pixel, data.scale={scale}" in warnings(x)
    assert warnings(x, scale=scale) == ""


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (UNIFORM, ""),
        (2 * UNIFORM - 1, ""),
        (TABLE, ""),
        (255 * UNIFORM, "not scaled: training is easier with values of about 1, so set data.scale"),
        (1000 * TABLE, "so standardize the columns"),
        (-UNIFORM * 100, "so standardize"),
        (1e-4 * TABLE, "standardize the columns, or set data.scale=0.0001"),
        (5 + 1e-3 * TABLE, "so standardize the columns, or set data.scale=0.001"),
    ],
)
def test_large_values_are_said(x, words):
    assert (words in warnings(x)) if words else warnings(x) == ""


@pytest.mark.parametrize(("largest", "is_dark"), [(15, True), (63, True), (64, False)])
def test_dark_images_are_said(largest, is_dark):
    x = RANDOM.integers(2, largest + 1, (200, 1, 6, 6)).astype(np.uint8)
    x[:, 0, 0, 0] = largest
    assert (f"the largest of 256 levels is {largest}" in warnings(x)) == is_dark


def test_constant_columns_and_images_are_said():
    x = np.concatenate([TABLE, np.ones((100, 2))], 1)
    assert "2 of 5 columns are constant: x[:, 3], x[:, 4]" in warnings(x)
    assert "constant: d, e" in warnings(x, columns=list("abcde"))
    images = UNIFORM.copy()
    images[:50] = images[:50, :, :1, :1]
    described = describe(images)
    assert 30 < described.constant < 50
    assert "examined training images have the same value in all pixels" in described.warnings[0]


def test_equal_images_and_test_images_among_the_training_images_are_counted():
    half = UNIFORM[:50]
    described = describe(np.concatenate([half, half]))
    assert described.duplicates + described.shared + 50 >= 80
    assert described.shared > 0
    assert "test images are equal to a training image" in described.warnings[-1]
    assert (describe(UNIFORM).duplicates, describe(UNIFORM).shared) == (0, 0)


def test_classes_without_training_images_are_said():
    names = ("train", "val", "test")
    arrays = {f"x_{name}": TABLE[:10] for name in names}
    arrays |= {f"y_{name}": np.arange(10) % 2 for name in names} | {"y_test": np.arange(10)}
    data = ArrayData(arrays, "x.npz")
    data.setup()
    found = " ".join(describe_splits(data).warnings)
    assert "the test rows have labels that no training row has: 2, 3, 4, 5, 6, ..." in found


def test_large_data_are_sampled(monkeypatch):
    monkeypatch.setattr(description, "MAX_ROWS", 10)
    monkeypatch.setattr(description, "MIN_ROWS", 4)
    assert describe(UNIFORM).examined == 10
    monkeypatch.setattr(description, "MAX_BYTES", 0)
    assert describe(UNIFORM).examined == 4


def test_make_data_and_fit_print_the_line_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = vaelab.make_data(UNIFORM)
    line = data.description.line
    announce_data(data)
    model = vaelab.make_model(data.shape, 2, model="mlp model.hidden=[4]")
    run = vaelab.fit(model, data, max_epochs=1, samples=2)
    assert capsys.readouterr().out.count(line) == 1
    assert json.loads((run.folder / "data.json").read_text())["sizes"]["train"] == 80
    report = (run.folder / "report.html").read_text()
    assert "float32, not scaled" in report
    assert RunFolder.load(run.folder).data["examined"] == 80


@pytest.mark.parametrize("text", ["[]", "{", '{"sizes": 3, "low": "x", "warnings": {"a": 1}}'])
def test_damaged_description_does_not_stop_the_report(tmp_path, text):
    from vaelab.report.write import write_report

    (tmp_path / ".hydra").mkdir()
    OmegaConf.save({"model": {}}, tmp_path / ".hydra" / "config.yaml")
    (tmp_path / "data.json").write_text(text)
    assert write_report(tmp_path).is_file()


def test_the_random_state_does_not_change():
    before = torch.random.get_rng_state()
    describe(LEVELS, binarize="dynamic")
    assert torch.equal(before, torch.random.get_rng_state())
