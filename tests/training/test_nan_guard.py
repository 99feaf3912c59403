"""on_nan=stop|skip|restore: weights, files and messages after a non-finite step."""

import contextlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from conftest import ROOT, slow
from pytorch_lightning import Callback
from pytorch_lightning.plugins.precision import MixedPrecision
from safetensors import safe_open

import vaelab
from vaelab.cli.resume import resume_run
from vaelab.distributions.bernoulli import IndependentBernoulli
from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import TrainingStopped, UserError
from vaelab.training import nan_guard
from vaelab.training.nan_diagnosis import repeat_saved_batch
from vaelab.training.nan_guard import MAX_EVENTS_IN_A_ROW

SMALL = ("model.hidden=[16]", "latent_dim=4", "data.binarize=none", "data.batch_size=32")
SPOIL = "+callbacks.spoil._target_=test_nan_guard.SpoilBatches"
NAN_GRADIENT = "loss._target_=test_nan_guard.BernoulliWithNaNGradient"


class SpoilBatches(Callback):
    """Sets a pixel of some batches to a value.

    Arguments:
        batches: The numbers of the batches.
        rank: The only process whose batches are changed; None changes those of every process.
    """

    def __init__(self, batches, value=float("nan"), rank=None):
        self.batches, self.value, self.rank = batches, value, rank

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx in self.batches and self.rank in (None, trainer.global_rank):
            batch[0][1, 0, 0, 0] = self.value


class BernoulliWithNaNGradient(Bernoulli):
    """A likelihood with finite values, and a NaN gradient if a pixel is 2."""

    def forward(self, out):
        return _DistributionWithNaNGradient(out, len(self.shape))


class _DistributionWithNaNGradient(IndependentBernoulli):
    def log_prob(self, value):
        zero = (0 * self.logits).sqrt() if value.max() > 1 else 0 * self.logits
        return super().log_prob(value) + self.sum_over_event(zero)


def spoil_batches(*batches, **settings):
    """Return the words that add a SpoilBatches callback."""
    words = [SPOIL, f"+callbacks.spoil.batches={[*batches]}"]
    return words + [f"+callbacks.spoil.{key}={value}" for key, value in settings.items()]


def limit_steps(count):
    return f"trainer.limit_train_batches={count}"


def load_last_checkpoint(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same_state(folder, other):
    """Check that weights, buffers and optimizer states of two runs are bit-identical."""
    first, second = load_last_checkpoint(folder), load_last_checkpoint(other)
    for name, weight in first["state_dict"].items():
        assert torch.equal(weight, second["state_dict"][name]), name
    states, expected = (
        checkpoint["optimizer_states"][0]["state"] for checkpoint in (first, second)
    )
    assert states.keys() == expected.keys()
    for key, state in states.items():
        for name, value in state.items():
            assert torch.equal(value, expected[key][name]), (key, name)


PATHS = [
    "",
    "lightning",
    "delayed",
    "trainer.accumulate_grad_batches=2",
    "trainer.precision=bf16-mixed",
]


@pytest.fixture
def path(monkeypatch):
    """Select a code path of the guard; return the words of the command for it."""

    def choose(name):
        if name == "lightning":
            monkeypatch.setattr("vaelab.train.use_short_loop", lambda trainer: None)
        if name == "delayed":
            monkeypatch.setattr(nan_guard, "DELAYED_DEVICES", ("cpu",))
        return [name] if "=" in name else []

    return choose


@pytest.mark.parametrize("name", PATHS)
def test_stop_keeps_the_weights_before_the_step_and_names_the_cause(train, tmp_path, path, name):
    words = [*SMALL, *path(name)]
    before = train(*words, limit_steps(4), folder="before")
    message = "batch 4 of epoch 0: NaN or infinity in reconstruction, kl: "
    with pytest.raises(ValueError, match=message) as raised:
        train(*words, limit_steps(30), *spoil_batches(4))
    assert_same_state(before["folder"], tmp_path / "run")
    assert "largest activations: vae.encoder" in str(raised.value)  # the first to read the NaN
    (file,) = (tmp_path / "run" / "nan").iterdir()
    assert str(file) in str(raised.value)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_saved_event_has_its_batch_and_can_be_repeated(train, tmp_path, config):
    with pytest.raises(ValueError, match="NaN or infinity in reconstruction, kl: "):
        train(*SMALL, limit_steps(6), *spoil_batches(5))
    path = tmp_path / "run" / "nan" / "step-6.safetensors"
    run = RunParts.build(config(*SMALL))
    run.data.setup()
    with safe_open(path, "pt") as file:
        x, indices = file.get_tensor("x"), file.get_tensor("indices")
    x[1, 0, 0, 0] = run.data.splits["train"].images[indices[1], 0, 0, 0] / 255
    assert torch.equal(x, run.data.splits["train"].images[indices] / 255)
    assert repeat_saved_batch(run.module, path) == ["reconstruction", "kl"]


@pytest.mark.parametrize("name", ["", *slow("lightning"), "delayed"])
def test_nan_gradient_of_a_finite_loss_is_found(train, tmp_path, path, name):
    words = [*SMALL, NAN_GRADIENT, *path(name)]
    before = train(*words, limit_steps(2), folder="before")
    message = r"step 3, .*: NaN or infinity in gradient of vae\.decoder\.\S+, .*: "
    with pytest.raises(ValueError, match=message):
        train(*words, limit_steps(5), *spoil_batches(2, value=2))
    assert_same_state(before["folder"], tmp_path / "run")


@pytest.mark.parametrize(
    "words",
    [
        "",
        *slow("lightning"),
        "trainer.accumulate_grad_batches=2",
        "model=resnet model.channels=[4,8] model.blocks=1 model.normalization=batch",
        *slow(
            "trainer.precision=bf16-mixed",
            "trainer.gradient_clip_val=1",
            "optimizer=adamw optimizer.weight_decay=0.5",
            "optimizer.fused=false",
            "objective=vq posterior=vq posterior.codes=8",
            "loss=gaussian loss.scale=optimal",
        ),
    ],
)
def test_skipped_step_changes_nothing(train, path, words):
    settings = words.split() if "=" in words else path(words)
    words = [*SMALL, *settings, "on_nan=skip"]
    if "resnet" in str(settings):
        words.remove("model.hidden=[16]")
    before = train(*words, limit_steps(4), folder="before")
    after = train(*words, limit_steps(6 if "accumulate" in str(words) else 5), *spoil_batches(4))
    assert_same_state(before["folder"], after["folder"])
    assert (before["skipped"], after["skipped"]) == (0, 1)
    steps = [load_last_checkpoint(run["folder"])["global_step"] for run in (before, after)]
    assert steps[1] > steps[0]


BUFFERED = (
    *("model=resnet", "model.channels=[4,8]", "latent_dim=4", "data.binarize=none"),
    *("data.batch_size=16", "callbacks=[default,ema]", "~callbacks.pictures"),
)


@pytest.mark.slow
@pytest.mark.parametrize("on_nan", ["skip", "stop"])
def test_averaged_batch_normalization_statistics_stay_finite(train, tmp_path, on_nan):
    words = [*BUFFERED, limit_steps(5), f"on_nan={on_nan}", *spoil_batches(2)]
    with (
        contextlib.nullcontext() if on_nan == "skip" else pytest.raises(ValueError, match="step 3")
    ):
        train(*words)
    for key in ("state_dict", "current_model_state"):
        for name, weight in load_last_checkpoint(tmp_path / "run")[key].items():
            assert weight.isfinite().all(), (key, name)


@pytest.mark.slow
def test_checkpoint_of_a_signal_in_a_skipped_step_is_finite(train, tmp_path, stopped_at):
    stopped_at(3)
    with pytest.raises(TrainingStopped):
        train(*BUFFERED, limit_steps(5), "on_nan=skip", *spoil_batches(2))
    state = load_last_checkpoint(tmp_path / "run")
    assert all(weight.isfinite().all() for weight in state["state_dict"].values())
    assert state["guard"] == {"events": 1, "in_a_row": 1}


@pytest.mark.slow
@pytest.mark.parametrize("on_nan", ["skip", "stop"])
def test_resumed_run_counts_steps_skipped_before_the_interruption(
    train, tmp_path, stopped_at, monkeypatch, on_nan
):
    # Resuming refuses classes of the tests.
    monkeypatch.setattr("vaelab.runtime.trusted_config.check_config", lambda cfg: None)
    words = [*SMALL, limit_steps(6), "logger=csv", "~callbacks.pictures"]
    words += ["trainer.log_every_n_steps=1", f"on_nan={on_nan}", *spoil_batches(1)]
    if on_nan == "skip":
        expected = train(*words, folder="uninterrupted")["folder"]
        stopped_at(4)
    with pytest.raises(TrainingStopped if on_nan == "skip" else ValueError):
        train(*words)
    stopped_at(None)
    resume_run([f"resume={tmp_path / 'run'}"])
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["skipped"] == 1
    if on_nan == "skip":
        files = [(folder / "metrics.csv").read_bytes() for folder in (expected, tmp_path / "run")]
        assert files[0] == files[1]


def test_training_continues_after_skipped_steps_and_counts_them(train, caplog):
    numbers = train(*SMALL, "on_nan=skip", "logger=csv", limit_steps(8), *spoil_batches(2, 5))
    message = "step 3, batch 2 of epoch 0: NaN or infinity in reconstruction, kl: skipped"
    assert message in caplog.text
    rows = (numbers["folder"] / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/skipped")
    assert [row.split(",")[column] for row in rows[1:9]] == [*"000111", "2", "2"]
    assert numbers["skipped"] == 2
    assert load_last_checkpoint(numbers["folder"])["optimizer_states"][0]["state"][0]["step"] == 6


@pytest.mark.parametrize("on_nan", ["skip", "restore"])
def test_skip_and_restore_stop_after_too_many_events_in_a_row(train, tmp_path, on_nan):
    message = f"step {MAX_EVENTS_IN_A_ROW + 2}, .*, the {MAX_EVENTS_IN_A_ROW + 1}th time in a row"
    with pytest.raises(ValueError, match=message):
        train(*SMALL, f"on_nan={on_nan}", limit_steps(40), *spoil_batches(*range(1, 40)))
    assert len(list((tmp_path / "run" / "nan").iterdir())) == nan_guard.MAX_SAVED_EVENTS + 1


@pytest.mark.parametrize("name", ["", *slow("lightning"), "delayed"])
def test_restore_returns_to_the_older_of_two_copies(train, path, monkeypatch, name):
    monkeypatch.setattr(nan_guard, "COPY_INTERVAL", 2)
    monkeypatch.setattr(nan_guard, "CHECK_INTERVAL", 2)
    words = [*SMALL, *path(name), "on_nan=restore"]
    before = train(*words, limit_steps(2), folder="before")
    after = train(*words, limit_steps(6), *spoil_batches(5))  # copies after steps 0, 2 and 4
    assert_same_state(before["folder"], after["folder"])
    assert after["restored"] == 1


@pytest.mark.slow
def test_restore_does_not_change_the_learning_rate_schedule(train):
    words = [*SMALL, "schedule=cosine", "on_nan=restore"]
    healthy = train(*words, limit_steps(6), folder="healthy")
    restored = train(*words, limit_steps(6), *spoil_batches(3))
    states = [load_last_checkpoint(run["folder"]) for run in (restored, healthy)]
    assert states[0]["lr_schedulers"] == states[1]["lr_schedulers"]
    learning_rates = [state["optimizer_states"][0]["param_groups"][0]["lr"] for state in states]
    assert learning_rates[0] == learning_rates[1]


@pytest.mark.slow
def test_restore_includes_the_averaged_weights(train):
    words = [*SMALL, "callbacks=[default,ema]", "on_nan=restore", "optimizer.lr=0.1"]
    state = load_last_checkpoint(train(*words, limit_steps(4), *spoil_batches(3))["folder"])
    for name, weight in state["state_dict"].items():  # the average of the initial weights alone
        assert torch.equal(weight, state["current_model_state"][name]), name


@pytest.mark.parametrize("name", ["", "delayed"])
def test_guard_does_not_change_healthy_steps(train, path, name):
    words = [*SMALL, *path(name), limit_steps(12)]
    guarded, unguarded = (
        train(*words, f"on_nan={on_nan}", folder=on_nan) for on_nan in ("restore", "ignore")
    )
    assert_same_state(guarded["folder"], unguarded["folder"])


class LossScaling(Callback):
    """Trains with 16-mixed on the CPU, with an initial loss scale that is too large."""

    def setup(self, trainer, pl_module, stage):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        trainer.strategy._precision_plugin = MixedPrecision("16-mixed", "cpu", scaler)


@pytest.mark.slow
def test_steps_skipped_by_the_loss_scaler_are_not_counted(train):
    words = [*SMALL, "+callbacks.scaling._target_=test_nan_guard.LossScaling", "on_nan=skip"]
    numbers = train(*words, limit_steps(40))
    state = load_last_checkpoint(numbers["folder"])
    steps = state["optimizer_states"][0]["state"][0]["step"]
    assert numbers["skipped"] == 0
    assert 0 < steps < 40  # the scaler skipped the others
    assert train(*words, limit_steps(40), *spoil_batches(39), folder="bad")["skipped"] == 1


class SpoilGradient(Callback):
    """Makes the gradient of a parameter non-finite in the steps from `first` to before `end`."""

    def __init__(self, value=float("nan"), first=0, end=10**9):
        self.value, self.first, self.end = value, first, end

    def on_fit_start(self, trainer, pl_module):
        def spoil(gradient):
            is_spoilt = self.first <= trainer.global_step < self.end
            return torch.full_like(gradient, self.value) if is_spoilt else gradient

        next(pl_module.parameters()).register_hook(spoil)


class HiddenSpoilGradient(SpoilGradient):
    """Does so behind the computation of the gradient, where no diagnosis finds it."""

    def on_fit_start(self, trainer, pl_module):
        def spoil(weight):
            weight.grad.fill_(self.value)

        next(pl_module.parameters()).register_post_accumulate_grad_hook(spoil)


def scaled_training(folder, steps, *callbacks, on_nan="stop", init_scale=2.0**16, **settings):
    """Train with a loss scaler in a Trainer of one's own; return the module and the scaler."""
    torch.manual_seed(0)
    vae = vaelab.make_model((1, 28, 28), latent_dim=2, model="mlp model.hidden=[8]")
    module = vaelab.VAEModule(vae, on_nan=on_nan)
    images = torch.utils.data.TensorDataset(torch.rand(64, 1, 28, 28).round())
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        plugins=MixedPrecision("16-mixed", "cpu", scaler),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=folder,
        callbacks=[*callbacks],
        **settings,
    )
    before = [weight.detach().clone() for weight in module.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning, about data loaders
        trainer.fit(module, torch.utils.data.DataLoader(images, batch_size=8))
    moved = [not torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True)]
    return module, scaler, any(moved)


@pytest.mark.parametrize("on_nan", ["stop", "skip", "restore"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_gradient_that_is_never_finite_stops_a_training_with_a_loss_scaler(tmp_path, on_nan, value):
    message = r"step 11, .*: NaN or infinity in gradient of vae.* the 11th time in a row"
    with pytest.raises(UserError, match=message):
        scaled_training(tmp_path, 60, SpoilGradient(value), on_nan=on_nan)
    assert [*(tmp_path / "nan").iterdir()]


@pytest.mark.parametrize("settings", [{"accumulate_grad_batches": 2}, {"gradient_clip_val": 1.0}])
def test_loss_scaler_with_other_settings_stops_too(tmp_path, settings):
    with pytest.raises(UserError, match="NaN or infinity in gradient of vae"):
        scaled_training(tmp_path, 60, SpoilGradient(), **settings)


def test_gradient_that_becomes_non_finite_later_stops_a_training_with_a_loss_scaler(tmp_path):
    with pytest.raises(UserError, match=r"step 31, .*: NaN or infinity in gradient of vae"):
        scaled_training(tmp_path, 60, SpoilGradient(first=20))


def test_non_finite_gradient_without_a_cause_in_the_batch_stops_in_the_end(tmp_path):
    with pytest.raises(UserError, match="NaN or infinity in the sum of gradients"):
        scaled_training(tmp_path, 60, HiddenSpoilGradient())


@pytest.mark.parametrize("init_scale", [2.0**16, 2.0**30, 2.0**45])
def test_warm_up_of_a_loss_scaler_does_not_stop_a_training(tmp_path, init_scale):
    module, scaler, is_trained = scaled_training(tmp_path, 60, init_scale=init_scale)
    assert is_trained
    assert scaler.get_scale() <= init_scale
    assert module.guard.events == module.guard.overflows == 0
    assert not (tmp_path / "nan").exists()


@pytest.mark.parametrize("end", [1, 5, 10])
def test_some_skipped_steps_do_not_stop_a_training_with_a_loss_scaler(tmp_path, end):
    module, _, is_trained = scaled_training(tmp_path, 30, SpoilGradient(first=5, end=5 + end))
    assert is_trained
    assert module.guard.overflows == 0


def test_ignore_does_not_check_a_training_with_a_loss_scaler(tmp_path):
    scaled_training(tmp_path, 20, SpoilGradient(), on_nan="ignore")


def test_unknown_value_of_on_nan_is_refused(command):
    status, _ = command("train.py", "on_nan=explode", "logger=none")
    assert status.startswith("error: on_nan=explode: it should be 'stop', 'skip', 'restore'")


FOLDERS = (str(ROOT / "tests"), str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
SPOIL_ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(FOLDERS), "VAELAB_TRUST": "test_nan_guard"}


@pytest.mark.slow
def test_two_processes_skip_the_same_steps(shell, tmp_path):
    words = [*SMALL, "trainer=ddp", "trainer.accelerator=cpu", "logger=none", "samples=2"]
    words += [limit_steps(6), "trainer.max_epochs=1", "on_nan=skip", "hydra.run.dir=run"]
    shell("train.py", *words, *spoil_batches(2, 4, rank=1), **SPOIL_ENVIRONMENT)
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert numbers["skipped"] == 2
    files = sorted(path.name for path in (tmp_path / "run" / "nan").iterdir())
    assert files == ["step-3-rank-1.safetensors", "step-5-rank-1.safetensors"]


@pytest.mark.slow
def test_two_processes_stop_together_with_one_message(tmp_path):
    words = [*SMALL, "trainer=ddp", "trainer.accelerator=cpu", "logger=none", "hydra.run.dir=run"]
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *words, limit_steps(6), *spoil_batches(2, rank=1)],
        cwd=tmp_path,
        env=os.environ | SPOIL_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 1
    message = "error: step 3, batch 2 of epoch 0: NaN or infinity in reconstruction, kl: "
    assert done.stderr.count(message) == 1
    assert "Traceback" not in done.stderr
    assert load_last_checkpoint(tmp_path / "run")["optimizer_states"][0]["state"][0]["step"] == 2
