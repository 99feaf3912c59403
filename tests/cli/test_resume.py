"""An interrupted run resumes bit for bit."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT, slow

from vaelab.cli.resume import resume_run
from vaelab.runs.checkpoints import read_checkpoint
from vaelab.runtime.errors import TrainingStopped

SMALL = (
    *("model.hidden=[16]", "latent_dim=4", "logger=csv", "~callbacks.pictures", "samples=2"),
    *("trainer.max_epochs=3", "trainer.limit_train_batches=6", "trainer.log_every_n_steps=2"),
)
STEPS = 18
STEP_LR = "{_target_:torch.optim.lr_scheduler.StepLR,_partial_:true,step_size:2,gamma:0.5}"


def iterate_state(node, path=""):
    """Yield the tensors and values of a checkpoint, except times, resumed steps and versions."""
    if isinstance(node, dict):
        for key, child in node.items():
            if key not in ("seconds", "resumed", "versions"):
                yield from iterate_state(child, f"{path}/{key}")
    elif isinstance(node, list | tuple):
        for number, child in enumerate(node):
            yield from iterate_state(child, f"{path}/{number}")
    else:
        yield path, node


def assert_same_run(folder, other):
    """Check that checkpoints and metrics.csv of two runs are bit-identical."""
    for name in ("last", "best"):
        state, expected = (
            dict(iterate_state(read_checkpoint(run / "checkpoints" / f"{name}.ckpt")))
            for run in (folder, other)
        )
        assert state.keys() == expected.keys()
        for path, value in state.items():
            pair = value, expected[path]
            is_same = torch.equal(*pair) if isinstance(value, torch.Tensor) else pair[0] == pair[1]
            assert is_same, path
    assert (folder / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (8, "schedule=one_cycle callbacks=[default,ema] kl=warmup kl.period=9"),
        *slow(
            (1, ""),
            (12, "schedule=cosine trainer.gradient_clip_val=0.1"),  # the end of an epoch
            (17, "callbacks=[default,early_stopping] optimizer=adamw"),
            (3, "trainer.accumulate_grad_batches=2"),
            (7, "trainer.precision=bf16-mixed"),
            (8, "objective=aae data.binarize=dynamic"),
            (9, "model=vq callbacks=[default,ema]"),
            (5, "loss=gaussian loss.scale=optimal data.binarize=none"),
            (8, "prior=vamp prior.components=5"),
            (8, "trainer.check_val_every_n_epoch=2"),
            (3, "+trainer.val_check_interval=3"),  # a validation within an epoch
            (11, "+trainer.val_check_interval=4"),  # between a validation and the end of the epoch
            (5, "+trainer.val_check_interval=5 trainer.check_val_every_n_epoch=null"),
            (8, "data=toy2d loss=mse data.validation=0"),
            (8, "schedule=plateau schedule.patience=0 schedule.min_delta=1e6"),
            (12, "schedule=plateau schedule.patience=0 schedule.min_delta=1e6"),
            (
                9,
                "schedule=plateau schedule.patience=1 schedule.min_delta=1e6 "
                "+trainer.val_check_interval=3",
            ),
            (7, f"schedule=torch schedule.scheduler={STEP_LR}"),
            (12, f"schedule=torch schedule.interval=epoch schedule.scheduler={STEP_LR}"),
            (8, "optimizer=sgd"),
            (8, "objective=perceptual objective.critic_start=5 data.binarize=none"),
            (8, "optimizer=radam schedule=cosine"),
        ),
    ],
)
def test_run_stopped_by_a_signal_resumes_bit_for_bit(train, stopped_at, tmp_path, step, words):
    words = [*SMALL, *words.split()]
    if "model=vq" in words:
        words = [word for word in words if not word.startswith(("model.hidden", "latent_dim"))]
    uninterrupted = train(*words, folder="uninterrupted")["folder"]
    stopped_at(step)
    with pytest.raises(
        TrainingStopped,
        match=rf"^stopped by SIGTERM after step {step}; resume with: python train\.py resume=",
    ) as stopped:
        train(*words, folder="resumed")
    assert stopped.value.status == 143
    stopped_at(None)
    folder = tmp_path / "resumed"
    assert read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == step
    resume_run([f"resume={folder}"])
    assert_same_run(folder, uninterrupted)
    assert json.loads((folder / "metrics.json").read_text())["resumed"] == [step]


def train_until_stopped(train, stopped_at, tmp_path, step=8):
    """Train until a signal after `step`; return the run folder."""
    stopped_at(step)
    with pytest.raises(TrainingStopped):
        train(*SMALL, folder="resumed")
    stopped_at(None)
    return tmp_path / "resumed"


@pytest.mark.slow
def test_run_stopped_several_times_resumes_bit_for_bit(train, stopped_at, tmp_path):
    uninterrupted = train(*SMALL, folder="uninterrupted")["folder"]
    folder = train_until_stopped(train, stopped_at, tmp_path, 2)
    for step in (3, 6, 11, 12, 16):
        stopped_at(step, signal.SIGUSR1)
        with pytest.raises(TrainingStopped, match="SIGUSR1"):
            resume_run([f"resume={folder}"])
    stopped_at(None)
    resume_run([f"resume={folder}"])
    assert_same_run(folder, uninterrupted)
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["resumed"] == [2, 3, 6, 11, 12, 16]


def test_resume_uses_the_previous_checkpoint_if_the_last_is_damaged(
    train, stopped_at, tmp_path, capsys
):
    uninterrupted = train(*SMALL, folder="uninterrupted")["folder"]
    folder = train_until_stopped(train, stopped_at, tmp_path)
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    resume_run([f"resume={folder}"])
    assert "resuming after step 6" in capsys.readouterr().out
    assert_same_run(folder, uninterrupted)


def test_resume_without_a_checkpoint_starts_from_the_beginning(train, stopped_at, tmp_path, capsys):
    uninterrupted = train(*SMALL, folder="uninterrupted")["folder"]
    folder = train_until_stopped(train, stopped_at, tmp_path)
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    resume_run([f"resume={folder}"])
    assert "there is no checkpoint: starting from the beginning" in capsys.readouterr().out
    assert_same_run(folder, uninterrupted)


def test_resume_keeps_the_config_and_accepts_trainer_overrides(train, stopped_at, tmp_path):
    folder = train_until_stopped(train, stopped_at, tmp_path)
    before = {path: path.read_bytes() for path in (folder / ".hydra").iterdir()}
    resume_run([f"resume={folder}", "trainer.max_epochs=4", "trainer.gradient_clip_val=1"])
    assert before == {path: path.read_bytes() for path in (folder / ".hydra").iterdir()}
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["epochs"] == 4
    assert numbers["steps"] == 24


@pytest.mark.slow
def test_resume_does_not_continue_after_early_stopping(train, stopped_at, tmp_path):
    words = [*SMALL, "callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=1"]
    numbers = train(*words, "optimizer.lr=1e-30", "trainer.max_epochs=9")
    folder = numbers["folder"]
    (folder / "metrics.json").unlink()
    resume_run([f"resume={folder}"])
    assert json.loads((folder / "metrics.json").read_text())["steps"] == numbers["steps"] == 12


def test_minutes_write_checkpoints_within_an_epoch(train, monkeypatch):
    saved = []
    save = torch.save
    monkeypatch.setattr("torch.save", lambda state, *a: (saved.append(state), save(state, *a)))
    train(*SMALL, "callbacks.checkpoint.minutes=1e-9")
    assert [state["global_step"] for state in saved] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["optimizer.lr=1"], r"optimizer.lr=1: .*only trainer.* may change"),
        (["resume=other"], "other: resume= takes the folder of one run"),
        (["-m"], "-m: resume= takes the folder of one run"),
        (["trainer.max_epochs=4", "trainer.precision=64"], "trainer.precision=64: choose from"),
        (
            ["trainer.epochs=3"],
            r"trainer.epochs: .* did you mean trainer.max_epochs\?",
        ),
        (["trainer.max_epochs=[1"], r"no viable alternative at input .\[1"),
    ],
)
def test_resume_refuses_other_overrides(finished_run, words, reason):
    folder = finished_run(*SMALL)["folder"]
    with pytest.raises(Exception, match=reason):
        resume_run([f"resume={folder}", *words])
    assert (folder / "metrics.json").exists()


def test_resume_refuses_a_finished_run_and_a_folder_without_a_run(finished_run, tmp_path):
    folder = finished_run(*SMALL)["folder"]
    with pytest.raises(
        ValueError, match=r"is finished: to train it longer, set trainer.max_epochs above 3"
    ):
        resume_run([f"resume={folder}"])
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        resume_run([f"resume={tmp_path}"])


@pytest.mark.parametrize("traceback", ["0", *slow("1")])
def test_signal_ends_the_command_with_one_line_and_its_status(tmp_path, monkeypatch, traceback):
    monkeypatch.setenv("HYDRA_FULL_ERROR", traceback)
    with _start_process(
        tmp_path, "run", "data.batch_size=64", "trainer.max_epochs=1000"
    ) as process:
        wait_for_file(tmp_path / "run" / "checkpoints" / "last.ckpt")
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors[-2000:]
    line = errors.strip().splitlines()[-1]
    assert line.startswith("stopped by SIGTERM after step ")
    assert line.endswith(f"resume with: vaelab train resume={tmp_path / 'run'}")
    assert "Traceback" not in errors


@pytest.mark.slow
def test_resume_refuses_a_run_that_another_process_trains(tmp_path):
    """A training may outlive the command that started it."""
    words = ("data.batch_size=64", "trainer.max_epochs=1000")
    with _start_process(tmp_path, "run", *words) as process:
        wait_for_file(tmp_path / "run" / "checkpoints" / "last.ckpt")
        with pytest.raises(ValueError, match=r"run is being trained by another process"):
            resume_run([f"resume={tmp_path / 'run'}"])
        assert process.poll() is None
        process.kill()
    resume_run([f"resume={tmp_path / 'run'}", "trainer.max_epochs=1"])


def _start_process(folder, name, *words):
    """Start a run in a new process, or resume it if its folder exists."""
    new_words = [*SMALL[:5], *words, "trainer.accelerator=cpu", f"hydra.run.dir={name}"]
    words = [f"resume={name}"] if (folder / name / ".hydra").exists() else new_words
    command = [sys.executable, str(ROOT / "train.py"), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)


def wait_for_file(path, newer_than=0.0):
    """Wait until a file exists that was written after a time."""
    for _ in range(6000):
        if path.exists() and path.stat().st_mtime > newer_than:
            return
        time.sleep(0.01)
    raise TimeoutError(path)


@pytest.mark.slow
def test_run_killed_20_times_at_random_resumes_bit_for_bit(tmp_path):
    """A checkpoint is written after every step, and every fifth kill waits for a write."""
    words = ("data.batch_size=500", "trainer.max_epochs=60", "callbacks=[default,ema]")
    words = (*words, "schedule=one_cycle", "callbacks.checkpoint.minutes=1e-9")
    with _start_process(tmp_path, "uninterrupted", *words) as process:
        process.communicate(timeout=300)
    generator, interrupted_writes = random.Random(0), 0
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    part = last.with_suffix(".part")
    for kill in range(20):
        started = time.time()
        with _start_process(tmp_path, "killed", *words) as process:
            wait_for_file(last, started)
            time.sleep(generator.uniform(0, 0.1))
            while kill % 5 == 0 and process.poll() is None and not part.exists():
                pass
            assert process.poll() is None, "the run ended before it was killed"
            process.kill()
        interrupted_writes += part.exists()
    with _start_process(tmp_path, "killed") as process:
        assert process.communicate(timeout=300)[0]
    assert process.returncode == 0
    print(f"{interrupted_writes} of 20 kills interrupted the write of a checkpoint")
    assert interrupted_writes > 0
    assert_same_run(tmp_path / "killed", tmp_path / "uninterrupted")
