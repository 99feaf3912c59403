"""Folders, tables and failures of the jobs of a command."""

import csv
import re

import pytest

from vaelab.sweeps.multirun import explain_sweep_error

QUICK = ["logger=none", "trainer=smoke", "samples=1", "callbacks.pictures.only=[]"]


def read_job_table(tmp_path):
    """Return the folder of the only multirun and the rows of its table."""
    (sweep,) = (tmp_path / "multirun").iterdir()
    with (sweep / "table.csv").open() as file:
        return sweep, list(csv.DictReader(file))


def test_multirun_has_a_folder_for_each_job_and_ends_with_a_table(command, tmp_path):
    words = ["-m", "model.hidden=[4],[8]", "loss=bce,mse", *QUICK]
    status, output = command("train.py", *words)
    assert status == 0
    sweep, table = read_job_table(tmp_path)
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == list("0123")
    assert len(table) == 4
    assert output.rstrip().endswith(str(sweep))
    pixels = "on binary pixels of mnist5k 1x28x28"
    for likelihood in ("bce {} (probability)", "mse {} (density)"):
        group = f"{likelihood.format(pixels)}, ranked by val/elbo"
        assert group in output
        members = [row for row in table if row["group"] == group]
        values = [float(row["val"]) for row in members]
        assert len(values) == 2
        assert values == sorted(values, reverse=True)
        assert all(row["rmse"] for row in members)
    assert {row["choices"] for row in table} == {
        f"model.hidden=[{size}] loss={loss}" for size in (4, 8) for loss in ("bce", "mse")
    }


@pytest.mark.slow
def test_jobs_with_different_data_are_not_ranked_together(command, tmp_path):
    words = ["-m", "data.shape=[1,28,28],[1,32,32]", "model.hidden=[4]", *QUICK]
    assert command("train.py", *words)[0] == 0
    assert len({row["group"] for row in read_job_table(tmp_path)[1]}) == 2


@pytest.mark.slow
def test_unexpected_exception_in_a_job_does_not_stop_the_others(command, tmp_path, monkeypatch):
    from vaelab.likelihoods.bernoulli import Bernoulli

    def fail(self, out):
        raise RuntimeError("a defect")

    monkeypatch.setattr(Bernoulli, "forward", fail)
    status, output = command("train.py", "-m", "loss=bce,mse", "model.hidden=[4]", *QUICK)
    assert status == 1
    assert [row["failed"] for row in read_job_table(tmp_path)[1]] == ["", "a defect"]
    assert "Traceback" in output  # of an error that is not about the user's input


def test_folder_that_holds_a_run_is_not_changed(command, tmp_path):
    words = ["model.hidden=[4]", "hydra.run.dir=run", *QUICK]
    assert command("train.py", *words)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    status, _ = command("train.py", *words, "latent_dim=3")
    assert "hydra.run.dir=run already holds a run" in status
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_failed_job_neither_stops_nor_hides_the_others(command, tmp_path):
    status, output = command("train.py", "-m", "latent_dim=2,0,3", "model.hidden=[4]", *QUICK)
    assert status == 1
    sweep, table = read_job_table(tmp_path)
    assert [bool(row["failed"]) for row in table] == [False, False, True]
    assert table[2]["failed"] == "latent_dim=0: it must be at least 1"
    assert (sweep / "1" / "failed.txt").read_text().strip() == table[2]["failed"]
    assert "Traceback" not in output


class Study:
    """What Optuna's study does after the last trial."""

    @staticmethod
    def best_trial(trials):
        finished = [trial for trial in trials if trial.return_value is not None]
        if not finished:
            raise ValueError("Record does not exist.")
        return max(finished, key=lambda trial: trial.return_value)


@pytest.fixture
def sweeper_with_best_trial(monkeypatch):
    """Make Hydra's sweeper look for the best job, as that of Optuna does."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    sweep = BasicSweeper.sweep

    def sweep_for_the_best(self, arguments):
        batches = sweep(self, arguments)
        Study.best_trial([trial for batch in batches for trial in batch])
        return batches

    monkeypatch.setattr(BasicSweeper, "sweep", sweep_for_the_best)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["latent_dim=0,-1"], "latent_dim=.*: it must be at least 1"),
        (["latent_dim=0"], "latent_dim=0: it must be at least 1"),
        (["start=nowhere,elsewhere", "latent_dim=2"], "start=nowhere,elsewhere: there is no such"),
    ],
)
def test_sweep_whose_jobs_all_failed_says_so(
    command, tmp_path, sweeper_with_best_trial, words, reason
):
    status, output = command("train.py", "-m", *words, "model.hidden=[4]", *QUICK)
    message = "error: no trial ended with a number: all [12] failed, the first because of: "
    assert re.match(message + reason, status)
    assert "Traceback" not in output
    assert "Record does not exist" not in output
    assert all(row["failed"] for row in read_job_table(tmp_path)[1])


def test_error_of_a_sweeper_with_finished_jobs_is_shown_as_it_is():
    error = ValueError("a defect")
    assert explain_sweep_error(error, [{"job": "0"}, {"failed": "it failed"}]) is error
    assert explain_sweep_error(error, []) is error


@pytest.mark.slow
def test_job_whose_training_becomes_nan_has_failed(command, tmp_path):
    words = ["-m", "optimizer.lr=1e-3,1e30", "trainer.max_epochs=2", "model.hidden=[4]"]
    assert command("train.py", *words, *QUICK)[0] == 1
    _, table = read_job_table(tmp_path)
    assert [bool(row["failed"]) for row in table] == [False, True]
    assert "NaN or infinity in reconstruction, kl: lower optimizer.lr" in table[1]["failed"]


@pytest.mark.parametrize("words", [["model=mlp,transformer"], ["kl.bta=1,2"]])
def test_multirun_that_cannot_be_composed_gives_one_line(command, words):
    status, output = command("train.py", "-m", *words, *QUICK)
    assert str(status).startswith("error: ")
    assert "\n" not in status
    assert "Traceback" not in output
