import os
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from published_sets import write_drawings, write_omniglot, write_omniglot_chardata

from vaelab.data.omniglot import Omniglot
from vaelab.data.omniglot_chardata import OmniglotChardata

REAL = os.environ.get("VAELAB_REAL_DATA", "")


def load_omniglot(root, kind=Omniglot, **settings):
    data = kind(str(root), **settings)
    data.prepare_data()
    data.setup()
    return data


def count_images(data):
    return {name: len(split.images) for name, split in data.splits.items()}


def test_evaluation_archive_is_the_test_split(tmp_path, monkeypatch):
    write_omniglot(tmp_path, monkeypatch)
    data = load_omniglot(tmp_path)
    assert count_images(data) == {"train": 72, "val": 8, "test": 40}
    names = {split: {data.classes[i] for i in data.splits[split].labels} for split in data.splits}
    assert {name.partition("/")[0] for name in names["test"]} == {"Tibetan"}
    assert names["train"] == names["val"]
    assert {name.partition("/")[0] for name in names["train"]} == {"Greek", "Latin"}
    assert data.splits["train"].labels.bincount().tolist() == [18] * 4


def test_drawings_of_both_small_archives_are_used_once(tmp_path, monkeypatch):
    write_drawings(tmp_path, monkeypatch, "images_background_small1", ["Greek", "Korean"])
    write_drawings(tmp_path, monkeypatch, "images_background_small2", ["Greek", "Sanskrit"])
    data = load_omniglot(tmp_path, source="small", shape=(1, 105, 105))
    assert count_images(data) == {"train": 96, "val": 12, "test": 12}
    images = torch.cat([split.images for split in data.splits.values()])
    assert len(images.flatten(1).unique(dim=0)) == 120


def test_pixels_are_binary_at_the_size_of_the_files_only(tmp_path, monkeypatch):
    write_omniglot(tmp_path, monkeypatch)
    large, small = load_omniglot(tmp_path, shape=(1, 105, 105)), load_omniglot(tmp_path)
    assert (large.pixels, small.pixels) == ("binary", "levels")
    assert large.splits["test"].images.unique().tolist() == [0, 255]
    assert len(small.splits["test"].images.unique()) > 2
    assert small.conversions == ["resized from 105x105 to 28x28"]
    ratio = large.splits["test"].images.float().mean() / small.splits["test"].images.float().mean()
    assert ratio == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "all"}, r"data\.source=all: choose from full, small"),
        ({"shape": (3, 28, 28)}, r"set data\.shape=\[1,28,28\]"),
        ({"shape": (1, 28, 32)}, r"set data\.shape=\[1,28,28\]"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Omniglot("data", **settings)


def test_damaged_archive_is_named(tmp_path, monkeypatch):
    write_omniglot(tmp_path, monkeypatch)
    path = tmp_path / "omniglot/images_evaluation.zip"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"images_evaluation\.zip is truncated or altered"):
        load_omniglot(tmp_path)


@pytest.mark.parametrize(
    ("kind", "file"), [(Omniglot, "images_background.zip"), (OmniglotChardata, "chardata.mat")]
)
def test_error_of_a_missing_file_says_what_to_put_where(tmp_path, kind, file):
    with pytest.raises(FileNotFoundError) as error:
        kind(str(tmp_path)).prepare_data()
    message = str(error.value)
    assert "\n" not in message
    for word in (f"{tmp_path}/omniglot lacks {file}", "github.com", "VAELAB_DATA"):
        assert word in message


def test_chardata_has_upright_images_and_the_split_of_the_paper(tmp_path, monkeypatch):
    train, test = write_omniglot_chardata(tmp_path, monkeypatch)
    data = load_omniglot(tmp_path, OmniglotChardata, validation=4, binarize="none")
    assert count_images(data) == {"train": 26, "val": 4, "test": 10}
    for images, expected in (("train", train[:26]), ("val", train[26:]), ("test", test)):
        written = torch.from_numpy(expected).float()[:, None]
        assert torch.equal(data.splits[images].images, written)
    assert data.splits["test"].labels.tolist() == list(range(10))


def test_chardata_is_binarized_dynamically_by_default(tmp_path, monkeypatch):
    write_omniglot_chardata(tmp_path, monkeypatch)
    data = load_omniglot(tmp_path, OmniglotChardata, validation=4)
    assert data.pixels == "binary"
    assert data.splits["test"].images.unique().tolist() == [0, 255]


@pytest.mark.parametrize("validation", [-1, 30])
def test_validation_of_chardata_must_leave_a_training_image(tmp_path, monkeypatch, validation):
    write_omniglot_chardata(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=rf"data\.validation={validation}: .* at most 29"):
        load_omniglot(tmp_path, OmniglotChardata, validation=validation)


@pytest.mark.skipif(not REAL, reason="VAELAB_DATA is not set, but the real files are needed")
def test_real_small_set_has_242_characters_of_20_drawings():
    if not Path(ROOT / REAL, "omniglot").is_dir():
        pytest.skip("VAELAB_DATA has no omniglot")
    data = load_omniglot(ROOT / REAL, source="small", shape=(1, 105, 105))
    assert count_images(data) == {"train": 242 * 16, "val": 484, "test": 484}
    assert len({name.partition("/")[0] for name in data.classes}) == 8
    ink = data.splits["train"].images.float().mean() / 255
    assert 0.02 < ink < 0.15  # white strokes on black
