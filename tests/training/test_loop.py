"""A step of the short loop is bit-identical to Lightning's step, with all settings."""

import pytest
import torch
from conftest import slow
from pytorch_lightning import Callback

from vaelab.training.loop import ShortLoop

SMALL = ("model.hidden=[16]", "latent_dim=4", "trainer.limit_train_batches=6")
STEP_LR = "{_target_:torch.optim.lr_scheduler.StepLR,_partial_:true,step_size:1,gamma:0.5}"


def load_last_checkpoint(numbers):
    path = numbers["folder"] / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    "words",
    [
        "trainer.max_epochs=2",
        *slow("trainer.gradient_clip_val=0.1"),
        *slow("trainer.precision=bf16-mixed"),
        "schedule=one_cycle",
        *slow("callbacks=[default,ema]"),
        *slow("loss=gaussian loss.scale=optimal data.binarize=none"),
        "kl=warmup kl.period=5",
        "trainer.max_steps=5",
        f"schedule=torch schedule.interval=epoch trainer.max_epochs=2 schedule.scheduler={STEP_LR}",
        *slow("optimizer=sgd"),
    ],
)
def test_short_loop_gives_the_weights_and_counters_of_lightning(train, monkeypatch, words):
    calls, run_step = [], ShortLoop._run_step
    monkeypatch.setattr(ShortLoop, "_run_step", lambda *a: (calls.append(1), run_step(*a))[1])
    short = load_last_checkpoint(train(*SMALL, *words.split(), folder="short"))
    assert len(calls) == short["global_step"]
    monkeypatch.setattr("vaelab.train.use_short_loop", lambda trainer: None)
    expected = load_last_checkpoint(train(*SMALL, *words.split(), folder="lightning"))
    for name, weight in expected["state_dict"].items():
        assert torch.equal(weight, short["state_dict"][name]), name
    assert short["global_step"] == expected["global_step"]
    assert short["loops"] == expected["loops"]
    assert short["lr_schedulers"] == expected["lr_schedulers"]


@pytest.mark.parametrize("words", ["trainer.accumulate_grad_batches=2"])
def test_gradient_accumulation_uses_the_loop_of_lightning(train, monkeypatch, words):
    monkeypatch.setattr(ShortLoop, "_run_step", None)
    assert train(*SMALL, *words.split(), "trainer.log_every_n_steps=1000")["steps"] == 3


class CallCounter(Callback):
    """Counts the calls of a hook inside the step."""

    calls = 0

    def on_after_backward(self, trainer, pl_module):
        CallCounter.calls += 1


def test_callback_inside_the_step_is_called_at_every_step(train):
    train(
        *SMALL,
        "+callbacks.counter._target_=test_loop.CallCounter",
        "trainer.log_every_n_steps=1000",
    )
    import test_loop

    assert test_loop.CallCounter.calls == 6


def test_a_profiler_sees_the_steps_of_lightning(train, monkeypatch, caplog):
    monkeypatch.setattr(ShortLoop, "_run_step", None)
    with caplog.at_level("INFO"):
        train(*SMALL, "+trainer.profiler=simple")
    rows = [line.split("|")[1].strip() for line in caplog.text.splitlines() if "|" in line]
    assert "run_training_batch" in rows
    assert any("optimizer_step" in row for row in rows)
