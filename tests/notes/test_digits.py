import numpy as np
import pytest
import torch

from vaelab.notes.base import format_value, render_table
from vaelab.notes.digits import curve, sharpness


def test_a_plane_has_no_sharpness_however_steep():
    rows = torch.arange(12.0)
    assert sharpness((3 * rows[:, None] - rows)[None, None]) == pytest.approx(0, abs=1e-9)


def test_one_white_pixel_has_the_sharpness_of_the_laplacian():
    x = torch.zeros(1, 1, 12, 12)
    x[..., 5, 5] = 1
    # -4 once and 1 four times among the 100 pixels inside: the mean is 0
    assert sharpness(x) == pytest.approx((16 + 4) / 99, rel=1e-5)


def test_blur_takes_sharpness_away():
    x = torch.rand(3, 1, 20, 20)
    assert sharpness(torch.nn.functional.avg_pool2d(x, 3, 1, 1)) < sharpness(x) / 5


def test_a_curve_is_what_was_logged_under_its_name(tmp_path):
    text = "step,train/loss,val/elbo\n0,3.5,\n1,,-2\n2,nan,\n"
    (tmp_path / "metrics.csv").write_text(text)
    steps, values = curve(tmp_path, "train/loss")
    assert steps.tolist() == [0, 2]
    np.testing.assert_array_equal(values, [3.5, np.nan])
    assert curve(tmp_path, "val/elbo")[1].tolist() == [-2]


def test_numbers_are_told_in_four_digits():
    assert [format_value(each) for each in (0.123456, 12, "none", 1e-7)] == [
        "0.1235",
        "12",
        "none",
        "1e-07",
    ]


def test_a_table_is_one_of_markdown():
    assert render_table([{"a": 1, "b": 0.5}, {"a": "x", "b": 2.0}]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1 | 0.5 |",
        "| x | 2 |",
    ]
