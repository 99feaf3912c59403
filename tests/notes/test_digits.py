import numpy as np
import pytest
import torch

from vaelab.notes.base import format_value, render_table
from vaelab.notes.digits import compute_sharpness, read_curve


def test_linear_ramp_has_zero_sharpness():
    rows = torch.arange(12.0)
    assert compute_sharpness((3 * rows[:, None] - rows)[None, None]) == pytest.approx(0, abs=1e-9)


def test_single_white_pixel_has_the_variance_of_the_laplacian_kernel():
    x = torch.zeros(1, 1, 12, 12)
    x[..., 5, 5] = 1
    # The response is -4 at one and 1 at four of the 100 inner pixels; its mean is 0.
    assert compute_sharpness(x) == pytest.approx((16 + 4) / 99, rel=1e-5)


def test_blur_reduces_sharpness():
    x = torch.rand(3, 1, 20, 20)
    assert compute_sharpness(torch.nn.functional.avg_pool2d(x, 3, 1, 1)) < compute_sharpness(x) / 5


def test_read_curve_returns_the_steps_at_which_the_metric_was_logged(tmp_path):
    text = "step,train/loss,val/elbo\n0,3.5,\n1,,-2\n2,nan,\n"
    (tmp_path / "metrics.csv").write_text(text)
    steps, values = read_curve(tmp_path, "train/loss")
    assert steps.tolist() == [0, 2]
    np.testing.assert_array_equal(values, [3.5, np.nan])
    assert read_curve(tmp_path, "val/elbo")[1].tolist() == [-2]


def test_format_value_rounds_floats_to_four_digits():
    assert [format_value(value) for value in (0.123456, 12, "none", 1e-7)] == [
        "0.1235",
        "12",
        "none",
        "1e-07",
    ]


def test_render_table_writes_markdown():
    assert render_table([{"a": 1, "b": 0.5}, {"a": "x", "b": 2.0}]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1 | 0.5 |",
        "| x | 2 |",
    ]
