"""A run that was killed at any stage is finished by `resume`, with the same numbers and files."""

import csv
import json
import os
from pathlib import Path

import pytest
from cli.test_resume import assert_same_run
from conftest import slow

import vaelab.train
from vaelab.cli.resume import resume_run
from vaelab.runs.completion import STAGES, find_missing_stages, list_stages_from
from vaelab.runtime.errors import UserError

WORDS = [
    *("model.hidden=[8]", "latent_dim=3", "logger=csv", "samples=2", "trainer.max_epochs=2"),
    *(
        "trainer.limit_train_batches=3",
        "trainer.log_every_n_steps=1",
        "trainer.limit_val_batches=1",
    ),
    *("callbacks.pictures.only=[reconstructions,samples]", "callbacks.pictures.every=1"),
]
SAME = ("metrics.csv", "kl_per_dimension.csv")  # files whose every byte is equal
TIMES = ("wall_s", "resumed", "command")


class Kill(BaseException):
    """Ends a run as a signal does that no code can handle."""


KILLS = {  # a function of vaelab.train, whether it runs before the kill, and what is missing then
    "the training begins": ("_record_start", True, "training"),
    "the training ends": ("_load_best_weights", False, "training"),
    "the evaluation begins": ("evaluate", False, "evaluation"),
    "the evaluation ends": ("evaluate", True, "evaluation"),
    "metrics.json begins": ("write_numbers", False, "evaluation"),
    "metrics.json is written": ("write_numbers", True, "evaluation"),
    "the loggers begin": ("_draw_results", False, "figures"),
    "the loggers end": ("log_run_summary", False, "figures"),
    "the figures end": ("_draw_results", True, "figures"),
    "the table is printed": ("print_numbers", True, "report"),
    "the report begins": ("_finish_report", False, "report"),
}

QUICK_KILLS = ["the training ends", "metrics.json is written", "the figures end"]


@pytest.fixture
def killed_at(monkeypatch):
    """Kill the training at one of KILLS; None lets it run."""

    def set_kill(stage, job=None):
        monkeypatch.undo()
        if stage is None:
            return
        name, is_after, _ = KILLS[stage]
        original = getattr(vaelab.train, name)

        def call_and_kill(*args, **settings):
            folder = next((str(each) for each in args if isinstance(each, Path)), f"/{job}")
            if job is not None and f"{os.sep}{job}" not in folder:
                return original(*args, **settings)
            if is_after:
                original(*args, **settings)
            raise Kill

        monkeypatch.setattr(vaelab.train, name, call_and_kill)

    return set_kill


def read_numbers(folder):
    numbers = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in numbers.items() if name not in TIMES}


def list_files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_same_results(folder, other):
    """Check that two run folders hold the same files, numbers, weights, curves and figures."""
    assert list_files(folder) == list_files(other)
    assert read_numbers(folder) == read_numbers(other)
    assert_same_run(folder, other)
    for name in list_files(other):
        if name.endswith((".csv", ".png")):
            assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    with (folder / "metrics.csv").open() as file:
        assert sum(bool(row.get("test/elbo")) for row in csv.DictReader(file)) == 1


@pytest.mark.parametrize(
    "stage", [*QUICK_KILLS, *slow(*(each for each in KILLS if each not in QUICK_KILLS))]
)
def test_run_killed_at_any_stage_is_finished_with_the_same_results(
    train, finished_run, killed_at, tmp_path, capsys, stage
):
    expected = finished_run(*WORDS, folder="uninterrupted")["folder"]
    killed_at(stage)
    with pytest.raises(Kill):
        train(*WORDS, folder="killed")
    killed_at(None)
    folder, first = tmp_path / "killed", KILLS[stage][2]
    assert find_missing_stages(folder) == list_stages_from(first)
    before = {name: (folder / name).stat().st_mtime_ns for name in list_files(folder)}
    capsys.readouterr()
    resume_run([f"resume={folder}"])
    output = capsys.readouterr().out
    if first in ("evaluation", "figures"):
        missing = ", ".join(list_stages_from(first))
        assert f"the training is complete; missing: {missing}" in output
    if first == "report":
        assert "the run is complete but for its report" in output
    assert_same_results(folder, expected)
    kept = [name for name in before if name.startswith("checkpoints/")]
    kept += ["metrics.json"] if first in ("figures", "report") else []
    kept += ["metrics.csv", "figures/samples.png"] if first == "report" else []
    assert all((folder / name).stat().st_mtime_ns == before[name] for name in kept)
    with pytest.raises(UserError, match=r"is finished: to train it longer, set trainer.max_epochs"):
        resume_run([f"resume={folder}"])


@pytest.mark.slow
def test_kills_one_after_another_end_with_the_same_results(
    train, finished_run, killed_at, tmp_path
):
    expected = finished_run(*WORDS, folder="uninterrupted")["folder"]
    folder, words = tmp_path / "killed", None
    for stage in KILLS:
        killed_at(stage)
        with pytest.raises(Kill):
            resume_run(words) if words else train(*WORDS, folder="killed")
        words = [f"resume={folder}"]
    killed_at(None)
    resume_run(words)
    assert_same_results(folder, expected)


@pytest.mark.slow
@pytest.mark.parametrize("stage", KILLS)
def test_killed_job_of_a_multirun_is_finished(command, killed_at, tmp_path, stage):
    words = ["-m", "seed=0,1", "hydra.sweep.dir=here", *WORDS, "trainer=smoke"]
    assert command("train.py", *words[:2], "hydra.sweep.dir=whole", *words[3:])[0] == 0
    killed_at(stage)
    with pytest.raises(Kill):
        command("train.py", *words)
    killed_at(None)
    assert not (tmp_path / "here" / "0" / "value.txt").exists()
    assert command("train.py", "resume=here")[0] == 0
    for job in "01":
        assert_same_results(tmp_path / "here" / job, tmp_path / "whole" / job)


@pytest.mark.slow
def test_job_that_was_finished_by_itself_is_not_trained_again(command, tmp_path, monkeypatch):
    words = ["-m", "seed=0", "hydra.sweep.dir=here", *WORDS, "trainer=smoke"]
    assert command("train.py", *words)[0] == 0
    value = tmp_path / "here" / "0" / "value.txt"
    text = value.read_text()
    value.unlink()
    monkeypatch.setattr(vaelab.train, "train_run", None)
    assert command("train.py", "resume=here")[0] == 0
    assert value.read_text() == text


@pytest.mark.slow
def test_run_without_checkpoints_is_trained_again(train, finished_run, killed_at, tmp_path):
    words = [*WORDS, "~callbacks.checkpoint"]
    expected = finished_run(*words, folder="uninterrupted")["folder"]
    killed_at("the loggers begin")
    with pytest.raises(Kill):
        train(*words, folder="killed")
    killed_at(None)
    folder = tmp_path / "killed"
    resume_run([f"resume={folder}"])
    assert list_files(folder) == list_files(expected)
    assert read_numbers(folder) == read_numbers(expected)


def test_missing_report_is_written_without_data_or_weights(finished_run, monkeypatch):
    folder = finished_run(*WORDS)["folder"]
    (folder / "report.html").unlink()
    monkeypatch.setattr(vaelab.train, "train_run", None)
    resume_run([f"resume={folder}"])
    assert (folder / "report.html").is_file()


def test_samples_may_change_until_the_evaluation(train, finished_run, killed_at, tmp_path):
    killed_at("the evaluation begins")
    with pytest.raises(Kill):
        train(*WORDS, folder="killed")
    killed_at(None)
    folder = tmp_path / "killed"
    resume_run([f"resume={folder}", "samples=3"])
    assert json.loads((folder / "metrics.json").read_text())["samples"] == 3
    assert "samples: 2" in (folder / ".hydra" / "config.yaml").read_text()
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(UserError, match=r"samples=4: .* has been evaluated: .*--samples 4"):
        resume_run([f"resume={folder}", "samples=4"])
    assert (folder / "metrics.json").read_bytes() == before
    resume_run([f"resume={folder}", "trainer.max_epochs=3", "samples=4"])
    numbers = json.loads((folder / "metrics.json").read_text())
    assert (numbers["samples"], numbers["epochs"]) == (4, 3)


@pytest.mark.parametrize("word", ["samples=0", "samples=many", "samples=", "samples=1e3"])
def test_wrong_number_of_samples_leaves_the_run_as_it_is(train, killed_at, tmp_path, word):
    killed_at("the evaluation begins")
    with pytest.raises(Kill):
        train(*WORDS, folder="killed")
    killed_at(None)
    folder = tmp_path / "killed"
    with pytest.raises(UserError, match="samples="):
        resume_run([f"resume={folder}", word])
    assert find_missing_stages(folder) == list_stages_from("evaluation")


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", STAGES),
        ("training\nevaluation\nfigures\nreport\n", STAGES),
        ("evaluation", STAGES[1:]),
        ("report", STAGES[1:]),  # without metrics.json
        ("nonsense \x1b[31m", STAGES),
    ],
)
def test_damaged_file_of_stages_never_hides_what_is_missing(tmp_path, text, missing):
    (tmp_path / "unfinished.txt").write_text(text)
    (tmp_path / "report.html").write_text("")
    assert find_missing_stages(tmp_path) == [*missing]
