"""Test that data that are no images are called rows of values."""

import numpy as np
import pytest
from tiny import MLP

from vaelab.runs.metrics_file import format_numbers, list_remarks, table_heading
from vaelab.runtime.metric_names import METRICS, OTHER_METRICS, get_metric, name_data


@pytest.mark.parametrize("key", [*METRICS, *OTHER_METRICS])
def test_metric_of_a_table_has_neither_images_nor_pixels(key):
    words = " ".join([str(get_metric(key, shape=(5,))), get_metric(key, shape=(5,)).meaning])
    assert "image" not in words
    assert "pixel" not in words
    assert get_metric(key, shape=(1, 28, 28)) == get_metric(key)


@pytest.mark.parametrize("shape", [(2, 9), (1, 4, 4, 4)])
@pytest.mark.parametrize("key", [*METRICS, *OTHER_METRICS])
def test_metric_of_series_and_volumes_has_neither_images_nor_pixels(key, shape):
    words = " ".join([str(get_metric(key, shape=shape)), get_metric(key, shape=shape).meaning])
    assert "image" not in words
    assert "pixel" not in words


def test_words_are_replaced_as_a_whole():
    assert name_data("2 images, real pixels", [2, 9]) == "2 series, real values"
    assert name_data("2 images, a pixel", [1, 4, 4, 4]) == "2 volumes, a voxel"
    assert name_data("30 test images, real pixels", [5]) == "30 test rows, real values"
    assert name_data("an imagery of 30 images", None) == "an imagery of 30 images"


def test_run_on_a_table_speaks_of_rows(train, tmp_path, capfd):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((300, 5)).astype("float32"))
    words = ("data=arrays", f"data.path={tmp_path}/x.npz", "data.shape=[5]", "loss=gaussian")
    numbers = train(*words, *MLP, "latent_dim=2", "logger=csv")
    shown = [*table_heading(numbers), *(text for row in format_numbers(numbers) for text in row)]
    shown += list_remarks(numbers)
    assert "test rows" in shown[0]
    assert "nats per row" in shown
    assert "of a value" in shown
    printed = capfd.readouterr().out
    report = (numbers["folder"] / "report.html").read_text()
    for word in ("image", "pixel"):
        assert word not in " ".join(shown)
    assert "nats per image" not in printed
    assert "nats per row" in report
    assert "nats per image" not in report
