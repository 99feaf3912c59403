import csv

import pytest

QUICK = ["logger=none", "trainer=smoke", "samples=1", "callbacks.pictures.every=99"]


def rows(tmp_path):
    (sweep,) = (tmp_path / "multirun").iterdir()
    with (sweep / "table.csv").open() as file:
        return sweep, list(csv.DictReader(file))


def test_a_multirun_has_a_folder_for_each_job_and_ends_in_a_table(command, tmp_path):
    words = ["-m", "model.hidden=[4],[8]", "loss=bce,mse", *QUICK]
    status, output = command("train.py", *words)
    assert status == 0
    sweep, table = rows(tmp_path)
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == list("0123")
    assert len(table) == 4
    assert output.rstrip().endswith(str(sweep))
    for group in ("bce on binary pixels (probability)", "mse on binary pixels (density)"):
        assert group in output
        members = [row for row in table if row["group"] == group]
        values = [float(row["val_elbo"]) for row in members]
        assert len(values) == 2
        assert values == sorted(values, reverse=True)
        assert all(row["rmse"] for row in members)
    assert {row["choices"] for row in table} == {
        f"model.hidden=[{size}] loss={loss}" for size in (4, 8) for loss in ("bce", "mse")
    }


def test_a_failed_job_neither_stops_nor_hides_the_others(command, tmp_path):
    status, output = command("train.py", "-m", "latent_dim=2,0,3", "model.hidden=[4]", *QUICK)
    assert status == 1
    sweep, table = rows(tmp_path)
    assert [bool(row["failed"]) for row in table] == [False, False, True]
    assert table[2]["failed"] == "latent_dim=0: it must be at least 1"
    assert (sweep / "1" / "failed.txt").read_text().strip() == table[2]["failed"]
    assert "Traceback" not in output


@pytest.mark.parametrize("words", [["model=mlp,transformer"], ["kl.bta=1,2"]])
def test_a_sweep_that_cannot_be_composed_says_why(command, words):
    status, output = command("train.py", "-m", *words, *QUICK)
    assert str(status).startswith("error: ")
    assert "\n" not in status
    assert "Traceback" not in output
