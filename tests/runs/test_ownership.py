"""Only one process writes to a run folder, or to the folder of a multirun."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, slow

import vaelab
import vaelab.train
from vaelab.reproduction.rerun import repeat_run
from vaelab.runs.ownership import (
    FolderInUseError,
    get_lock_path,
    owned,
    owned_multirun,
    owned_new_folder,
    owned_run,
)
from vaelab.runtime.files import locked

QUICK = ["logger=none", "trainer=smoke", "samples=1", "callbacks.pictures.only=[]"]
SMALL = ["model.hidden=[4]", *QUICK]
IN_USE = "is being trained by another process"
OWN = """
import sys
from pathlib import Path
from vaelab.runs.ownership import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


@contextmanager
def owned_by_another_process(folder):
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", OWN, str(folder)], stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "owned\n"
        yield process
        process.communicate()


def snapshot_files(folder):
    """Return the contents and times of all files, with folders as None."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def run(command, tmp_path):
    """A finished run in tmp_path/run."""
    assert command("train.py", *SMALL, "hydra.run.dir=run")[0] == 0
    return tmp_path / "run"


def begin_run(folder):
    """Make a folder look as if a training had just begun in it."""
    (folder / ".hydra").mkdir(parents=True)
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        (folder / ".hydra" / name).write_text("seed: 1\n")


@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        [*SMALL, "model.hidden=[8]", "hydra.run.dir=F"],
        [*SMALL, "hydra.run.dir=./F/../F"],
        ["-m", *SMALL, "seed=0,1", "hydra.sweep.dir=F"],
    ],
    ids=["run", "another name", "multirun"],
)
def test_refused_command_writes_nothing(command, tmp_path, words, is_begun):
    folder = tmp_path / "F"
    if is_begun:
        begin_run(folder)
    with owned_by_another_process(folder):
        before = snapshot_files(tmp_path)
        status, output = command("train.py", *words)
        assert IN_USE in str(status)
        assert "Traceback" not in output
        assert snapshot_files(tmp_path) == before
    if not is_begun:
        assert command("train.py", *words)[0] == 0


def test_resume_and_rerun_write_nothing_into_the_folder_of_another_process(run, tmp_path, command):
    (run / "metrics.json").rename(tmp_path / "kept.json")
    with owned_by_another_process(run):
        before = snapshot_files(tmp_path)
        assert IN_USE in str(command("train.py", f"resume={run}")[0])
        assert snapshot_files(tmp_path) == before
    (tmp_path / "kept.json").rename(run / "metrics.json")
    with owned_by_another_process(tmp_path / "again"):
        before = snapshot_files(tmp_path)
        with pytest.raises(FolderInUseError, match=IN_USE):
            repeat_run(run, tmp_path / "again")
        assert snapshot_files(tmp_path) == before


def test_python_api_writes_nothing_into_the_folder_of_another_process(tmp_path):
    with owned_by_another_process(tmp_path / "F"):
        before = snapshot_files(tmp_path)
        with pytest.raises(FolderInUseError, match=IN_USE):
            vaelab.run_training(*SMALL, folder=tmp_path / "F")
        model = vaelab.make_model((1, 28, 28), latent_dim=2)
        with pytest.raises(FolderInUseError, match=IN_USE):
            vaelab.fit(model, "mnist5k", folder=tmp_path / "F", max_epochs=1)
        assert snapshot_files(tmp_path) == before


@pytest.fixture
def multirun(command, tmp_path, monkeypatch):
    """A multirun of three jobs in tmp_path/here that was interrupted in its second job."""
    train = vaelab.train.train

    def train_first(cfg, **settings):
        if Path(cfg.folder).name == "1":
            raise KeyboardInterrupt
        return train(cfg, **settings)

    monkeypatch.setattr(vaelab.train, "train", train_first)
    assert command("train.py", "-m", "seed=0,1,2", "hydra.sweep.dir=here", *SMALL)[0] == 130
    monkeypatch.setattr(vaelab.train, "train", train)
    return tmp_path / "here"


@pytest.mark.slow
def test_multirun_has_one_owner_and_its_jobs_too(multirun, command, tmp_path):
    refused = {
        multirun: (["resume=here"], ["resume=here/1"], [*SMALL, "hydra.run.dir=here/5"]),
        multirun / "1": (["resume=here"], ["resume=here/1"]),
    }
    for owner, commands in refused.items():
        for words in commands:
            with owned_by_another_process(owner):
                before = snapshot_files(tmp_path)
                status = str(command("train.py", *words)[0])
                assert re.search(f"{IN_USE}|is a job of a multirun that is running", status), words
                assert snapshot_files(tmp_path) == before, words
    assert not [*multirun.rglob("failed.txt")]
    assert command("train.py", "resume=here")[0] == 0
    assert (multirun / "table.csv").read_text().count("\n") == 4


def test_job_that_is_in_training_elsewhere_is_not_marked_failed(multirun, command, monkeypatch):
    """A launcher may have started it: the multirun only learns of it when its turn comes."""
    monkeypatch.setattr("vaelab.runs.ownership._is_owned_elsewhere", lambda folder: False)
    with owned_by_another_process(multirun / "1"):
        status, output = command("train.py", "resume=here")
    assert status == 1
    assert IN_USE in output
    assert not (multirun / "1" / "failed.txt").exists()


@pytest.mark.slow
def test_run_without_checkpoints_is_not_overwritten(command, tmp_path):
    words = [*SMALL, "~callbacks.checkpoint", "hydra.run.dir=run"]
    assert command("train.py", *words)[0] == 0
    before = snapshot_files(tmp_path)
    for others in (words, ["-m", *words[:-1], "hydra.sweep.dir=run"]):
        assert "holds" in str(command("train.py", *others, "seed=1")[0])
        assert snapshot_files(tmp_path) == before


def test_folder_whose_record_is_incomplete_can_be_used(command, tmp_path):
    """Hydra was killed while it wrote the record; nothing can be resumed."""
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / ".hydra" / "config.yaml").write_text("seed: 1")
    assert command("train.py", *SMALL, "hydra.run.dir=run")[0] == 0


def test_other_users_of_a_folder_can_open_its_lock(tmp_path):
    with owned(tmp_path / "F"):
        assert get_lock_path(tmp_path / "F").stat().st_mode & 0o777 == 0o666


def test_run_is_not_written_into_the_folder_of_a_multirun(multirun, command, tmp_path):
    before = snapshot_files(tmp_path)
    status, _ = command("train.py", *SMALL, "hydra.run.dir=here")
    assert "already holds a run" in str(status)
    assert snapshot_files(tmp_path) == before


def test_finished_command_leaves_no_lock_file_and_a_stale_one_blocks_nobody(command, tmp_path):
    get_lock_path(tmp_path / "run").write_text("")
    assert command("train.py", *SMALL, "hydra.run.dir=run")[0] == 0
    assert "latent_dim" in str(command("train.py", *SMALL, "latent_dim=0", "hydra.run.dir=r/b")[0])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_owner_that_was_killed_blocks_nobody(tmp_path):
    with owned_by_another_process(tmp_path / "F") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert get_lock_path(tmp_path / "F").exists()
        with owned(tmp_path / "F"):
            pass
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["a" * 255, "\u56fe\u7247" * 40, "a, b=[c]", ".hidden"])
def test_folder_of_any_name_has_one_owner(tmp_path, name):
    with owned_by_another_process(tmp_path / name):
        for own in (owned, owned_run, owned_multirun):
            with pytest.raises(FolderInUseError), own(tmp_path / name):
                pass
        with owned(tmp_path / "another"):
            pass


def test_link_to_a_folder_has_the_same_owner(tmp_path):
    (tmp_path / "F").mkdir()
    (tmp_path / "link").symlink_to("F")
    with (
        owned_by_another_process(tmp_path / "F"),
        pytest.raises(FolderInUseError),
        owned(tmp_path / "link"),
    ):
        pass


def test_new_folders_are_unique(tmp_path):
    (tmp_path / "now_2").mkdir()
    with (
        owned_by_another_process(tmp_path / "now"),
        owned_new_folder(tmp_path / "now") as first,
        owned_new_folder(tmp_path / "now") as second,
    ):
        first.mkdir()
        assert [first.name, second.name] == ["now_3", "now_4"]


@pytest.mark.slow
def test_lock_file_that_its_owner_removes_is_never_shared(tmp_path):
    """Many processes lock and remove one file; a counter shows whether two held it at once."""
    script = """
import sys, os, time
from pathlib import Path
from vaelab.runtime.files import locked
path, inside, end = Path(sys.argv[1]), Path(sys.argv[2]), time.time() + 2
count = 0
while time.time() < end:
    with locked(path) as is_ours:
        if is_ours:
            inside.mkdir()  # fails if another process is inside
            inside.rmdir()
            count += 1
print(count)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "lock"), str(tmp_path / "inside")]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in outputs] == [""] * 4
    assert all(int(count) > 0 for count, _ in outputs)
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize("mode", [[], *slow(["-m"])])
def test_default_folders_of_the_same_second_differ(command, tmp_path, monkeypatch, mode):
    monkeypatch.setattr("time.time", lambda: 1e9)
    root = tmp_path / ("multirun" if mode else "runs")
    name = "2001-09-09_01-46-40"
    monkeypatch.setattr("hydra.core.utils.datetime", FrozenTime)
    for seed in range(3):
        assert command("train.py", *mode, *SMALL, f"seed={seed}")[0] == 0
    assert sorted(path.name for path in root.iterdir()) == [name, f"{name}_2", f"{name}_3"]
    job = "0" if mode else "."
    for number, folder in enumerate(sorted(root.iterdir())):
        numbers = json.loads((folder / job / "metrics.json").read_text())
        assert numbers["seed"] == number
        assert f"seed={number}" in (folder / job / ".hydra" / "overrides.yaml").read_text()
    if mode:
        status, output = command("train.py", f"resume={root / name}_2")
        assert status == 0
        assert "job 0 has finished before" in output


class FrozenTime:
    """A clock that stands still."""

    @staticmethod
    def now():
        from datetime import UTC, datetime

        return datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [[], ["-m"]], ids=["run", "multirun"])
def test_five_commands_started_at_once_all_train(tmp_path, mode):
    """They start in the same second, or in two."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *mode, *SMALL, f"seed={seed}"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
        )
        for seed in range(5)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-2000:]
    root = tmp_path / ("multirun" if mode else "runs")
    runs = [path / "0" if mode else path for path in root.iterdir()]
    assert len(runs) == 5
    for run in runs:
        seed = json.loads((run / "metrics.json").read_text())["seed"]
        assert f"seed={seed}" in (run / ".hydra" / "overrides.yaml").read_text()


@pytest.mark.slow
def test_second_command_leaves_the_record_of_a_run_in_training(tmp_path):
    script, words = str(ROOT / "train.py"), ["model.hidden=[4]", "logger=none", "samples=1"]
    first = [sys.executable, script, *words, "trainer.max_epochs=1000", "hydra.run.dir=F"]
    with subprocess.Popen(first, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        while not (tmp_path / "F" / ".hydra" / "overrides.yaml").exists():
            time.sleep(0.01)
        record = snapshot_files(tmp_path / "F" / ".hydra")
        second = [sys.executable, script, "model.hidden=[8]", "seed=2", "hydra.run.dir=F"]
        done = subprocess.run(second, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert IN_USE in done.stderr
        assert snapshot_files(tmp_path / "F" / ".hydra") == record
        process.kill()


def test_locked_yields_false_for_a_lock_of_another_process(tmp_path):
    with owned_by_another_process(tmp_path / "F"), locked(get_lock_path(tmp_path / "F")) as free:
        assert not free
