"""on_nan=stop|skip|restore: what a step that is not finite leaves behind, and what it says."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from pytorch_lightning import Callback
from pytorch_lightning.plugins.precision import MixedPrecision
from safetensors import safe_open

from vaelab.cli.resume import resume_run
from vaelab.distributions.bernoulli import IndependentBernoulli as Bits
from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.runs.run import Run
from vaelab.runtime.errors import TrainingStopped
from vaelab.training import nan_guard
from vaelab.training.nan_diagnosis import repeat_saved_batch
from vaelab.training.nan_guard import LIMIT

SMALL = ("model.hidden=[16]", "latent_dim=4", "data.binarize=none", "data.batch_size=32")
SPOIL = "+callbacks.spoil._target_=test_nan_guard.Spoil"
STEEP = "loss._target_=test_nan_guard.Steep"


class Spoil(Callback):
    """Puts a value into the batches of these numbers, where a process of this rank has them."""

    def __init__(self, batches, value=float("nan"), rank=None):
        self.batches, self.value, self.rank = batches, value, rank

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx in self.batches and self.rank in (None, trainer.global_rank):
            batch[0][1, 0, 0, 0] = self.value


class Steep(Bernoulli):
    """Finite everywhere, but its slope is not where a pixel is 2."""

    def forward(self, out):
        return _Steep(out, len(self.shape))


class _Steep(Bits):
    def log_prob(self, value):
        flat = (0 * self.logits).sqrt() if value.max() > 1 else 0 * self.logits
        return super().log_prob(value) + self.sum_over_event(flat)


def spoiled(*batches, **settings):
    words = [SPOIL, f"+callbacks.spoil.batches={[*batches]}"]
    return words + [f"+callbacks.spoil.{key}={value}" for key, value in settings.items()]


def steps(count):
    return f"trainer.limit_train_batches={count}"


def last(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def same_training(first, second):
    """Weights, buffers and the state of the optimizer, to the bit."""
    for name, weight in first["state_dict"].items():
        assert torch.equal(weight, second["state_dict"][name]), name
    ours, theirs = (each["optimizer_states"][0]["state"] for each in (first, second))
    assert ours.keys() == theirs.keys()
    for key, state in ours.items():
        for name, value in state.items():
            assert torch.equal(value, theirs[key][name]), (key, name)


PATHS = [
    "",
    "lightning",
    "late",
    "trainer.accumulate_grad_batches=2",
    "trainer.precision=bf16-mixed",
]


@pytest.fixture
def path(monkeypatch):
    """Makes steps go one way or another, and gives the words for it."""

    def choose(name):
        if name == "lightning":
            monkeypatch.setattr("vaelab.train.use_short_loop", lambda trainer: None)
        if name == "late":
            monkeypatch.setattr(nan_guard, "LATE", ("cpu",))
        return [name] if "=" in name else []

    return choose


@pytest.mark.parametrize("name", PATHS)
def test_stop_leaves_the_weights_before_the_step_and_says_what_it_was(train, tmp_path, path, name):
    words = [*SMALL, *path(name)]
    before = train(*words, steps(4), folder="before")
    with pytest.raises(ValueError, match=r"batch 4 .*: reconstruction, kl not finite") as said:
        train(*words, steps(30), *spoiled(4))
    same_training(last(before["folder"]), last(tmp_path / "run"))
    assert "largest activations: vae.encoder" in str(said.value)  # which read the nan first
    (file,) = (tmp_path / "run" / "nan").iterdir()
    assert str(file) in str(said.value)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_the_file_of_an_event_has_its_batch_and_repeats_it(train, tmp_path, config):
    with pytest.raises(ValueError, match="reconstruction, kl not finite"):
        train(*SMALL, steps(6), *spoiled(5))
    path = tmp_path / "run" / "nan" / "step-6.safetensors"
    run = Run.build(config(*SMALL))
    run.data.setup()
    with safe_open(path, "pt") as file:
        x, indices = file.get_tensor("x"), file.get_tensor("indices")
    x[1, 0, 0, 0] = run.data.splits["train"].images[indices[1], 0, 0, 0] / 255
    assert torch.equal(x, run.data.splits["train"].images[indices] / 255)
    assert repeat_saved_batch(run.module, path) == ["reconstruction", "kl"]


@pytest.mark.parametrize("name", ["", "lightning", "late"])
def test_a_slope_that_is_not_finite_is_found_behind_a_finite_loss(train, tmp_path, path, name):
    words = [*SMALL, STEEP, *path(name)]
    before = train(*words, steps(2), folder="before")
    with pytest.raises(ValueError, match=r"step 3, .* of vae\.decoder\.\S+, .* not finite"):
        train(*words, steps(5), *spoiled(2, value=2))
    same_training(last(before["folder"]), last(tmp_path / "run"))


@pytest.mark.parametrize(
    "words",
    [
        "",
        "lightning",
        "trainer.accumulate_grad_batches=2",
        "trainer.precision=bf16-mixed",
        "trainer.gradient_clip_val=1",
        "optimizer=adamw optimizer.weight_decay=0.5",
        "optimizer.fused=false",
        "objective=vq posterior=vq posterior.codes=8",
        "model=resnet model.channels=[4,8] model.blocks=1 model.normalization=batch",
        "loss=gaussian loss.scale=optimal",
    ],
)
def test_a_skipped_step_changes_nothing(train, path, words):
    settings = words.split() if "=" in words else path(words)
    words = [*SMALL, *settings, "on_nan=skip"]
    if "resnet" in str(settings):
        words.remove("model.hidden=[16]")
    before = train(*words, steps(4), folder="before")
    after = train(*words, steps(6 if "accumulate" in str(words) else 5), *spoiled(4))
    same_training(last(before["folder"]), last(after["folder"]))
    assert (before["skipped"], after["skipped"]) == (0, 1)
    assert last(after["folder"])["global_step"] > last(before["folder"])["global_step"]


BUFFERED = (
    *("model=resnet", "model.channels=[4,8]", "latent_dim=4", "data.binarize=none"),
    *("data.batch_size=16", "callbacks=[default,ema]", "~callbacks.pictures"),
)


@pytest.mark.parametrize("on_nan", ["skip", "stop"])
def test_averaged_statistics_of_batch_normalization_stay_finite(train, tmp_path, on_nan):
    words = [*BUFFERED, steps(5), f"on_nan={on_nan}", *spoiled(2)]
    with (
        contextlib.nullcontext() if on_nan == "skip" else pytest.raises(ValueError, match="step 3")
    ):
        train(*words)
    for key in ("state_dict", "current_model_state"):
        for name, weight in last(tmp_path / "run")[key].items():
            assert weight.isfinite().all(), (key, name)


def test_statistics_are_finite_in_what_a_signal_leaves_in_such_a_step(train, tmp_path, stopped_at):
    stopped_at(3)
    with pytest.raises(TrainingStopped):
        train(*BUFFERED, steps(5), "on_nan=skip", *spoiled(2))
    state = last(tmp_path / "run")
    assert all(weight.isfinite().all() for weight in state["state_dict"].values())
    assert state["guard"] == {"events": 1, "in_a_row": 1}


@pytest.mark.parametrize("on_nan", ["skip", "stop"])
def test_what_was_passed_over_is_counted_after_the_run_goes_on(
    train, tmp_path, stopped_at, monkeypatch, on_nan
):
    monkeypatch.setattr("vaelab.runs.untrusted.check_config", lambda cfg: None)  # for the spoiler
    words = [*SMALL, steps(6), "logger=csv", "~callbacks.pictures", "trainer.log_every_n_steps=1"]
    words += [f"on_nan={on_nan}", *spoiled(1)]
    if on_nan == "skip":
        whole = train(*words, folder="whole")["folder"]
        stopped_at(4)
    with pytest.raises(TrainingStopped if on_nan == "skip" else ValueError):
        train(*words)
    stopped_at(None)
    resume_run([f"resume={tmp_path / 'run'}"])
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["skipped"] == 1
    if on_nan == "skip":
        curves = [(each / "metrics.csv").read_bytes() for each in (whole, tmp_path / "run")]
        assert curves[0] == curves[1]


def test_the_training_goes_on_after_a_skipped_step_and_counts_it(train, caplog):
    numbers = train(*SMALL, "on_nan=skip", "logger=csv", steps(8), *spoiled(2, 5))
    assert "step 3, batch 2 of epoch 0: reconstruction, kl not finite: skipped" in caplog.text
    rows = (numbers["folder"] / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/skipped")
    assert [row.split(",")[column] for row in rows[1:9]] == [*"000111", "2", "2"]
    assert numbers["skipped"] == 2
    assert last(numbers["folder"])["optimizer_states"][0]["state"][0]["step"] == 6


@pytest.mark.parametrize("on_nan", ["skip", "restore"])
def test_skipping_and_restoring_have_an_end(train, tmp_path, on_nan):
    with pytest.raises(ValueError, match=f"step {LIMIT + 2}, .*, the {LIMIT + 1}th time in a row"):
        train(*SMALL, f"on_nan={on_nan}", steps(40), *spoiled(*range(1, 40)))
    assert len(list((tmp_path / "run" / "nan").iterdir())) == nan_guard.FILES + 1


@pytest.mark.parametrize("name", ["", "lightning", "late"])
def test_restore_goes_back_to_the_older_of_two_copies(train, path, monkeypatch, name):
    monkeypatch.setattr(nan_guard, "KEEP", 2)
    monkeypatch.setattr(nan_guard, "LOOK", 2)
    words = [*SMALL, *path(name), "on_nan=restore"]
    before = train(*words, steps(2), folder="before")
    after = train(*words, steps(6), *spoiled(5))  # copies of steps 0, 2 and 4
    same_training(last(before["folder"]), last(after["folder"]))
    assert after["restored"] == 1


def test_restore_leaves_the_learning_rate_to_the_schedule(train):
    words = [*SMALL, "schedule=cosine", "on_nan=restore"]
    plain = train(*words, steps(6), folder="plain")
    after = train(*words, steps(6), *spoiled(3))
    ours, theirs = (last(each["folder"]) for each in (after, plain))
    assert ours["lr_schedulers"] == theirs["lr_schedulers"]
    rates = [each["optimizer_states"][0]["param_groups"][0]["lr"] for each in (ours, theirs)]
    assert rates[0] == rates[1]


def test_restore_takes_averaged_weights_back_too(train):
    words = [*SMALL, "callbacks=[default,ema]", "on_nan=restore", "optimizer.lr=0.1"]
    after = train(*words, steps(4), *spoiled(3))
    ours = last(after["folder"])
    for name, weight in ours["state_dict"].items():  # the average of nothing but the first weights
        assert torch.equal(weight, ours["current_model_state"][name]), name


@pytest.mark.parametrize("name", ["", "late"])
def test_healthy_steps_are_the_same_with_and_without_a_guard(train, path, name):
    words = [*SMALL, *path(name), steps(12)]
    watched, plain = (
        train(*words, f"on_nan={on_nan}", folder=on_nan) for on_nan in ("restore", "ignore")
    )
    same_training(last(watched["folder"]), last(plain["folder"]))


class Scaled(Callback):
    """16-mixed on the CPU, with a scale that has to come down first."""

    def setup(self, trainer, pl_module, stage):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        trainer.strategy._precision_plugin = MixedPrecision("16-mixed", "cpu", scaler)


def test_the_scaler_of_16_mixed_is_left_to_find_its_scale(train):
    words = [*SMALL, "+callbacks.scaled._target_=test_nan_guard.Scaled", "on_nan=skip"]
    numbers = train(*words, steps(40))
    state = last(numbers["folder"])
    taken = state["optimizer_states"][0]["state"][0]["step"]
    assert numbers["skipped"] == 0
    assert 0 < taken < 40  # the scaler has skipped the others
    assert train(*words, steps(40), *spoiled(39), folder="bad")["skipped"] == 1


def test_another_word_is_refused(command):
    status, _ = command("train.py", "on_nan=explode", "logger=none")
    assert status.startswith("error: on_nan=explode: it should be 'stop', 'skip', 'restore'")


def with_tests():
    """The path of a process that finds the classes of this file."""
    return os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])


@pytest.mark.slow
def test_two_processes_skip_the_same_steps(shell, tmp_path):
    words = [*SMALL, "trainer=ddp", "trainer.accelerator=cpu", "logger=none", "samples=2"]
    words += [steps(6), "trainer.max_epochs=1", "on_nan=skip", "hydra.run.dir=run"]
    shell("train.py", *words, *spoiled(2, 4, rank=1), PYTHONPATH=with_tests())
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert numbers["skipped"] == 2
    files = sorted(path.name for path in (tmp_path / "run" / "nan").iterdir())
    assert files == ["step-3-rank-1.safetensors", "step-5-rank-1.safetensors"]


@pytest.mark.slow
def test_two_processes_stop_together_and_one_of_them_says_why(tmp_path):
    words = [*SMALL, "trainer=ddp", "trainer.accelerator=cpu", "logger=none", "hydra.run.dir=run"]
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *words, steps(6), *spoiled(2, rank=1)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": with_tests()},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr.count("error: step 3, batch 2 of epoch 0: reconstruction, kl not finite") == 1
    )
    assert "Traceback" not in done.stderr
    assert last(tmp_path / "run")["optimizer_states"][0]["state"][0]["step"] == 2
