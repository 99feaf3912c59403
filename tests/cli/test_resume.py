"""A run that was stopped goes on to the bits that it would have had."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT

from vaelab.cli.resume import resume_run
from vaelab.runs.checkpoints import read_checkpoint
from vaelab.runtime.errors import TrainingStopped

SMALL = (
    *("model.hidden=[16]", "latent_dim=4", "logger=csv", "~callbacks.pictures", "samples=2"),
    *("trainer.max_epochs=3", "trainer.limit_train_batches=6", "trainer.log_every_n_steps=2"),
)
STEPS = 18


def tensors(node, path=""):
    """Every tensor and value of a training state, but for the clock and the sittings."""
    if isinstance(node, dict):
        for key, child in node.items():
            if key not in ("seconds", "resumed", "versions"):
                yield from tensors(child, f"{path}/{key}")
    elif isinstance(node, list | tuple):
        for number, child in enumerate(node):
            yield from tensors(child, f"{path}/{number}")
    else:
        yield path, node


def assert_same(folder, other):
    for name in ("last", "best"):
        ours, theirs = (
            dict(tensors(read_checkpoint(each / "checkpoints" / f"{name}.ckpt")))
            for each in (folder, other)
        )
        assert ours.keys() == theirs.keys()
        for path, value in ours.items():
            both = value, theirs[path]
            same = torch.equal(*both) if isinstance(value, torch.Tensor) else both[0] == both[1]
            assert same, path
    assert (folder / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (1, ""),
        (8, "schedule=one_cycle callbacks=[default,ema] kl=warmup kl.period=9"),
        (12, "schedule=cosine trainer.gradient_clip_val=0.1"),  # an end of epoch
        (17, "callbacks=[default,early_stopping] optimizer=adamw"),
        (3, "trainer.accumulate_grad_batches=2"),
        (7, "trainer.precision=bf16-mixed"),
        (8, "objective=aae data.binarize=dynamic"),
        pytest.param(9, "model=vq callbacks=[default,ema]", marks=pytest.mark.slow),
        (5, "loss=gaussian loss.scale=optimal data.binarize=none"),
        (8, "prior=vamp prior.components=5"),
        (8, "trainer.check_val_every_n_epoch=2"),
        (3, "+trainer.val_check_interval=3"),  # a validation within the epoch
        (11, "+trainer.val_check_interval=4"),  # between one and the end
        (5, "+trainer.val_check_interval=5 trainer.check_val_every_n_epoch=null"),
        (8, "data=toy2d loss=mse data.validation=0"),
    ],
)
def test_a_signal_and_resume_give_the_bits_of_the_whole_run(
    train, stopped_at, tmp_path, step, words
):
    words = [*SMALL, *words.split()]
    if "model=vq" in words:
        words = [word for word in words if not word.startswith(("model.hidden", "latent_dim"))]
    whole = train(*words, folder="whole")["folder"]
    stopped_at(step)
    with pytest.raises(
        TrainingStopped, match=f"SIGTERM after step {step}: python train.py resume="
    ) as stop:
        train(*words, folder="stopped")
    assert stop.value.status == 143
    stopped_at(None)
    folder = tmp_path / "stopped"
    assert read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == step
    resume_run([f"resume={folder}"])
    assert_same(folder, whole)
    assert json.loads((folder / "metrics.json").read_text())["resumed"] == [step]


def stop(train, stopped_at, tmp_path, step=8):
    stopped_at(step)
    with pytest.raises(TrainingStopped):
        train(*SMALL, folder="stopped")
    stopped_at(None)
    return tmp_path / "stopped"


def test_it_may_be_stopped_again_and_again(train, stopped_at, tmp_path):
    whole = train(*SMALL, folder="whole")["folder"]
    folder = stop(train, stopped_at, tmp_path, 2)
    for step in (3, 6, 11, 12, 16):
        stopped_at(step, signal.SIGUSR1)
        with pytest.raises(TrainingStopped, match="SIGUSR1"):
            resume_run([f"resume={folder}"])
    stopped_at(None)
    resume_run([f"resume={folder}"])
    assert_same(folder, whole)
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["resumed"] == [2, 3, 6, 11, 12, 16]


def test_from_a_torn_checkpoint_it_goes_on_from_the_one_before(train, stopped_at, tmp_path, capsys):
    whole = train(*SMALL, folder="whole")["folder"]
    folder = stop(train, stopped_at, tmp_path)
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    resume_run([f"resume={folder}"])
    assert "goes on after step 6" in capsys.readouterr().out
    assert_same(folder, whole)


def test_without_a_checkpoint_it_begins_anew(train, stopped_at, tmp_path, capsys):
    whole = train(*SMALL, folder="whole")["folder"]
    folder = stop(train, stopped_at, tmp_path)
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    resume_run([f"resume={folder}"])
    assert "no checkpoint: from the start" in capsys.readouterr().out
    assert_same(folder, whole)


def test_the_config_is_left_as_it_is_and_the_trainer_may_change(train, stopped_at, tmp_path):
    folder = stop(train, stopped_at, tmp_path)
    before = {path: path.read_bytes() for path in (folder / ".hydra").iterdir()}
    resume_run([f"resume={folder}", "trainer.max_epochs=4", "trainer.gradient_clip_val=1"])
    assert before == {path: path.read_bytes() for path in (folder / ".hydra").iterdir()}
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["epochs"] == 4
    assert numbers["steps"] == 24


def test_what_early_stopping_ended_stays_ended(train, stopped_at, tmp_path):
    words = [*SMALL, "callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=1"]
    whole = train(*words, "optimizer.lr=0", "trainer.max_epochs=9", folder="whole")
    folder = whole["folder"]
    (folder / "metrics.json").unlink()
    resume_run([f"resume={folder}"])
    assert json.loads((folder / "metrics.json").read_text())["steps"] == whole["steps"] == 12


def test_minutes_write_within_an_epoch(train, monkeypatch):
    saved = []
    save = torch.save
    monkeypatch.setattr("torch.save", lambda state, *a: (saved.append(state), save(state, *a)))
    train(*SMALL, "callbacks.checkpoint.minutes=1e-9")
    assert [state["global_step"] for state in saved] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["optimizer.lr=1"], r"optimizer.lr=1: .*only trainer.* may change"),
        (["resume=other"], "one run goes on"),
        (["-m"], "-m: one run goes on"),
        (["trainer.max_epochs=4", "trainer.precision=64"], "trainer.precision=64: choose from"),
        (["trainer.epochs=3"], "trainer.epochs: there is no such key; trainer has .*max_epochs"),
        (["trainer.max_epochs=[1"], r"no viable alternative at input .\[1"),
    ],
)
def test_other_words_are_refused(train, words, reason):
    folder = train(*SMALL)["folder"]
    with pytest.raises(Exception, match=reason):
        resume_run([f"resume={folder}", *words])
    assert (folder / "metrics.json").exists()


def test_what_is_finished_or_no_run_is_refused(train, tmp_path):
    folder = train(*SMALL)["folder"]
    with pytest.raises(ValueError, match=r"is finished: trainer.max_epochs above 3 trains on"):
        resume_run([f"resume={folder}"])
    with pytest.raises(FileNotFoundError, match="is no run folder"):
        resume_run([f"resume={tmp_path}"])


@pytest.mark.parametrize("traceback", ["0", "1"])
def test_a_signal_ends_the_command_with_a_line_and_its_status(tmp_path, monkeypatch, traceback):
    monkeypatch.setenv("HYDRA_FULL_ERROR", traceback)
    with _process(tmp_path, "run", "data.batch_size=64", "trainer.max_epochs=1000") as process:
        _wait_for(tmp_path / "run" / "checkpoints" / "last.ckpt")
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors[-2000:]
    line = errors.strip().splitlines()[-1]
    assert line.startswith("SIGTERM after step ")
    assert line.endswith(f"python train.py resume={tmp_path / 'run'} goes on")
    assert "Traceback" not in errors


def test_a_run_that_is_being_trained_is_left_alone(tmp_path):
    """It may go on by itself after a kill of the command that started it."""
    words = ("data.batch_size=64", "trainer.max_epochs=1000")
    with _process(tmp_path, "run", *words) as process:
        _wait_for(tmp_path / "run" / "checkpoints" / "last.ckpt")
        with pytest.raises(ValueError, match=r"run is being trained by another process"):
            resume_run([f"resume={tmp_path / 'run'}"])
        assert process.poll() is None
        process.kill()
    resume_run([f"resume={tmp_path / 'run'}", "trainer.max_epochs=1"])


def _process(folder, name, *words):
    """A run of its own process, or one that goes on."""
    fresh = [*SMALL[:5], *words, "trainer.accelerator=cpu", f"hydra.run.dir={name}"]
    words = [f"resume={name}"] if (folder / name / ".hydra").exists() else fresh
    command = [sys.executable, str(ROOT / "train.py"), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)


def _wait_for(path, newer_than=0.0):
    for _ in range(6000):
        if path.exists() and path.stat().st_mtime > newer_than:
            return
        time.sleep(0.01)
    raise TimeoutError(path)


@pytest.mark.slow
def test_killed_20_times_at_random_it_ends_in_the_same_bits(tmp_path):
    """Checkpoints are written after every step, and every fifth kill waits for a write."""
    words = ("data.batch_size=500", "trainer.max_epochs=60", "callbacks=[default,ema]")
    words = (*words, "schedule=one_cycle", "callbacks.checkpoint.minutes=1e-9")
    with _process(tmp_path, "whole", *words) as process:
        process.communicate(timeout=300)
    chance, torn = random.Random(0), 0
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    part = last.with_suffix(".part")
    for kill in range(20):
        began = time.time()
        with _process(tmp_path, "killed", *words) as process:
            _wait_for(last, began)
            time.sleep(chance.uniform(0, 0.1))
            while kill % 5 == 0 and process.poll() is None and not part.exists():
                pass
            assert process.poll() is None, "the run has ended before it was killed"
            process.kill()
        torn += part.exists()
    with _process(tmp_path, "killed") as process:
        assert process.communicate(timeout=300)[0]
    assert process.returncode == 0
    print(f"{torn} of 20 kills met the writing of a checkpoint")
    assert torn > 0
    assert_same(tmp_path / "killed", tmp_path / "whole")
