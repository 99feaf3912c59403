"""Histories of a training in csv files."""

import numpy as np
import pytest

from vaelab.runs.history import (
    MetricCurve,
    add_kl_row,
    read_kl_history,
    read_metric_curves,
    steps_per_epoch,
)

METRICS = """\
epoch,step,test/elbo,train/elbo,val/elbo
0,31,,,-241.0
1,49,,-200.0,
1,63,,,-180.0
,640,-110.8,,
"""


def test_each_column_is_a_curve_over_the_steps_where_it_was_logged(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    curves = read_metric_curves(tmp_path / "metrics.csv")
    assert curves.keys() == {"epoch", "test/elbo", "train/elbo", "val/elbo"}
    assert curves["val/elbo"].steps.tolist() == [31, 63]
    assert curves["val/elbo"].values.tolist() == [-241, -180]
    assert curves["train/elbo"].values.tolist() == [-200]
    assert steps_per_epoch(curves) == 32


def test_steps_per_epoch_is_unknown_without_validation():
    curve = MetricCurve(np.array([49.0]), np.array([1.0]))
    assert steps_per_epoch({"epoch": curve, "train/elbo": curve}) is None


def test_missing_files_give_empty_histories(tmp_path):
    assert read_metric_curves(tmp_path / "metrics.csv") == {}
    history = read_kl_history(tmp_path / "kl.csv")
    assert len(history.epochs) == len(history.names) == 0


def test_kl_rows_are_read_as_they_were_added(tmp_path):
    path = tmp_path / "figures" / "kl.csv"
    add_kl_row(path, 0, 32, {"z1": 1.0, "z2": 0.1234567})
    add_kl_row(path, 5, 192, {"z1": 2.0, "z2": 0.0})
    history = read_kl_history(path)
    assert history.epochs.tolist() == [0, 5]
    assert history.names == ["z1", "z2"]
    assert history.kl[0] == pytest.approx([1, 0.1234567], rel=1e-5)
    assert path.read_text().startswith("epoch,step,z1,z2\n0,32,1,0.123457\n")


def test_resuming_from_an_earlier_epoch_replaces_later_rows(tmp_path):
    path = tmp_path / "kl.csv"
    for epoch in range(4):
        add_kl_row(path, epoch, 0, {"z1": float(epoch)})
    for epoch in (2, 2, 3):
        add_kl_row(path, epoch, 0, {"z1": 10.0 + epoch})
    history = read_kl_history(path)
    assert history.epochs.tolist() == [0, 1, 2, 3]
    assert history.kl[:, 0].tolist() == [0, 1, 12, 13]


def test_another_model_in_the_same_folder_starts_a_new_history(tmp_path):
    path = tmp_path / "kl.csv"
    add_kl_row(path, 0, 0, {"z1": 1.0, "z2": 1.0})
    add_kl_row(path, 1, 0, {"z1": 1.0})
    assert read_kl_history(path).epochs.tolist() == [1]
