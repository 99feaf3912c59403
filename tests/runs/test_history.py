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


def test_each_column_is_a_curve_of_the_steps_where_it_was_logged(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    found = read_metric_curves(tmp_path / "metrics.csv")
    assert found.keys() == {"epoch", "test/elbo", "train/elbo", "val/elbo"}
    assert found["val/elbo"].steps.tolist() == [31, 63]
    assert found["val/elbo"].values.tolist() == [-241, -180]
    assert found["train/elbo"].values.tolist() == [-200]
    assert steps_per_epoch(found) == 32


def test_without_a_validation_the_end_of_an_epoch_is_not_known():
    one = MetricCurve(np.array([49.0]), np.array([1.0]))
    assert steps_per_epoch({"epoch": one, "train/elbo": one}) is None


def test_where_there_is_no_file_there_is_nothing(tmp_path):
    assert read_metric_curves(tmp_path / "metrics.csv") == {}
    found = read_kl_history(tmp_path / "kl.csv")
    assert len(found.epochs) == len(found.names) == 0


def test_rows_are_read_as_they_were_added(tmp_path):
    path = tmp_path / "figures" / "kl.csv"
    add_kl_row(path, 0, 32, {"z1": 1.0, "z2": 0.1234567})
    add_kl_row(path, 5, 192, {"z1": 2.0, "z2": 0.0})
    found = read_kl_history(path)
    assert found.epochs.tolist() == [0, 5]
    assert found.names == ["z1", "z2"]
    assert found.kl[0] == pytest.approx([1, 0.1234567], rel=1e-5)
    assert path.read_text().startswith("epoch,step,z1,z2\n0,32,1,0.123457\n")


def test_a_run_that_goes_on_from_an_earlier_epoch_takes_the_place_of_later_rows(tmp_path):
    path = tmp_path / "kl.csv"
    for epoch in range(4):
        add_kl_row(path, epoch, 0, {"z1": float(epoch)})
    for epoch in (2, 2, 3):
        add_kl_row(path, epoch, 0, {"z1": 10.0 + epoch})
    found = read_kl_history(path)
    assert found.epochs.tolist() == [0, 1, 2, 3]
    assert found.kl[:, 0].tolist() == [0, 1, 12, 13]


def test_another_model_in_the_same_folder_begins_anew(tmp_path):
    path = tmp_path / "kl.csv"
    add_kl_row(path, 0, 0, {"z1": 1.0, "z2": 1.0})
    add_kl_row(path, 1, 0, {"z1": 1.0})
    assert read_kl_history(path).epochs.tolist() == [1]
