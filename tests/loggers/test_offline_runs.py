"""The command that uploads offline W&B runs."""

import subprocess

import pytest

from vaelab.loggers.offline_runs import find_upload_command


def write_run(place, run_id, is_synced=False):
    folder = place / "wandb" / f"offline-run-20260101_010203-{run_id}"
    folder.mkdir(parents=True)
    (folder / f"run-{run_id}.wandb").touch()
    if is_synced:
        (folder / f"run-{run_id}.wandb.synced").touch()


def expand(command):
    """Return the paths that a shell passes to `wandb sync`."""
    assert command.startswith("wandb sync ")
    words = ["bash", "-c", command.replace("wandb sync", "printf '%s\\n'", 1)]
    return sorted(subprocess.run(words, capture_output=True, text=True).stdout.splitlines())


@pytest.mark.parametrize("name", ["plain", "two words", "it's $HOME", "[a]*"])
def test_command_of_a_multirun_names_all_runs_in_few_words(tmp_path, name):
    folder = tmp_path / name
    for job in ("0", "1", "a b"):
        write_run(folder / job, "x")
    write_run(folder / "0" / "evaluation" / "test-best-5", "x")
    write_run(folder / "1" / "evaluation" / "val-best-5", "x")
    command = find_upload_command(folder)
    assert len(command.split("wandb sync ")[1].split("/wandb")) == 3  # two patterns
    jobs = [str(folder / job / "wandb") for job in ("0", "1", "a b")]
    evaluations = ["0/evaluation/test-best-5/wandb", "1/evaluation/val-best-5/wandb"]
    assert expand(command) == sorted(jobs + [str(folder / place) for place in evaluations])


def test_command_of_a_run_with_an_evaluation_names_both_folders(tmp_path):
    write_run(tmp_path / "a run", "x")
    write_run(tmp_path / "a run", "y", is_synced=True)
    write_run(tmp_path / "a run" / "evaluation" / "test-best-5", "x")
    places = ["a run/evaluation/test-best-5/wandb", "a run/wandb"]
    assert expand(find_upload_command(tmp_path / "a run")) == [str(tmp_path / p) for p in places]


def test_runs_that_were_uploaded_need_no_command(tmp_path):
    write_run(tmp_path, "x", is_synced=True)
    assert find_upload_command(tmp_path) is None
