"""scripts/rerun.py: repeating a run gives bit-identical numbers, or a list of differences."""

import json
import shutil

import numpy as np
import pytest

from vaelab.reproduction.rerun import compare_provenance, find_differences, format_comparison

SMALL = ("model.hidden=[16]", "latent_dim=4")
QUICK = ("trainer=smoke", "trainer.accelerator=cpu", "samples=2", "callbacks.pictures.only=[]")


def copy_with_changes(folder, name, **values):
    """Copy a run folder with other values in one of its files."""
    other = folder.parent / "other"
    shutil.copytree(folder, other, dirs_exist_ok=True)
    path = other / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return other


def test_runs_of_one_seed_are_bit_identical_and_of_two_seeds_differ(train):
    first, again, other = (
        train(*SMALL, f"seed={seed}", folder=folder)["folder"]
        for seed, folder in ((1, "first"), (1, "again"), (2, "different"))
    )
    assert find_differences(first, again) == []
    assert "bit-identical" in format_comparison(first, again)
    names = {each.name for each in find_differences(first, other)}
    assert {"elbo", "kl_per_dimension.0", "weights of last.ckpt, largest"} <= names


def test_differing_number_is_shown_with_its_difference(finished_run):
    folder = finished_run(*SMALL)["folder"]
    elbo = json.loads((folder / "metrics.json").read_text())["elbo"]
    other = copy_with_changes(folder, "metrics.json", elbo=elbo + 0.25, wall_s=99)
    assert [each.name for each in find_differences(folder, other)] == ["elbo"]
    assert f"elbo: {elbo} -> {elbo + 0.25}, by 0.25" in format_comparison(folder, other)


def test_differing_provenance_is_shown(finished_run):
    folder = finished_run(*SMALL)["folder"]
    other = copy_with_changes(folder, "provenance.json", threads={"torch": 7}, command="another")
    assert "threads.torch" in {each.name for each in compare_provenance(folder, other)}
    assert "threads.torch: 1 -> 7" in format_comparison(folder, other)
    assert "another" not in format_comparison(folder, other)


def test_runs_that_cannot_be_repeated_are_refused(command, finished_run, tmp_path):
    folder = finished_run(*SMALL)["folder"]
    (tmp_path / "empty").mkdir()
    shutil.copytree(folder, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "metrics.json").unlink()
    for words, message in (
        (["nowhere"], "is not a run folder"),
        (["empty"], "is not a run folder"),
        (["unfinished"], "has no metrics.json to compare with: finish it"),
        ([str(folder), "--out", "empty"], "this folder exists already, choose another"),
    ):
        status, output = command("scripts/rerun.py", *words)
        assert message in str(status)
        assert "\n" not in status
        assert "Traceback" not in output


@pytest.mark.slow
def test_relative_paths_and_threads_are_repeated_from_another_folder(shell, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    words = ["data=arrays", "data.path=x.npz", "loss=gaussian", "data.batch_size=8", *QUICK]
    shell("train.py", *words, "logger=none", "hydra.run.dir=first", OMP_NUM_THREADS="2")
    (tmp_path / "deeper").mkdir()
    output = shell("scripts/rerun.py", "first", "--out", "deeper/again")
    assert "bit-identical" in output
    assert "both runs have the same provenance" in output  # also the same number of threads
    again = json.loads((tmp_path / "deeper" / "again" / "provenance.json").read_text())
    assert again["threads"]["torch"] == 2


@pytest.mark.slow
def test_job_of_a_multirun_is_repeated_and_differences_end_in_status_2(shell, command, tmp_path):
    shell("train.py", "-m", "seed=3,4", *SMALL, *QUICK, "logger=csv")
    (sweep,) = (tmp_path / "multirun").iterdir()
    assert "bit-identical" in shell("scripts/rerun.py", str(sweep / "1"), "--out", "again")
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["seed"] == 4
    assert (tmp_path / "again" / "rerun_of.txt").read_text().strip() == str(sweep / "1")
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == ["0", "1"]
    copy_with_changes(sweep / "1", "metrics.json", elbo=0.0)
    status, output = command("scripts/rerun.py", str(sweep / "other"), "--out", "third")
    assert status == 2
    assert "1 numbers differ" in output
