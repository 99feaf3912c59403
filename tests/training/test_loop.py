"""The short step is Lightning's step: the same bits, whatever is switched on."""

import pytest
import torch
from pytorch_lightning import Callback

from vaelab.training.loop import ShortLoop

SMALL = ("model.hidden=[16]", "latent_dim=4", "trainer.limit_train_batches=6")


def weights(numbers):
    path = numbers["folder"] / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    "words",
    [
        "trainer.max_epochs=2",
        "trainer.gradient_clip_val=0.1",
        "trainer.precision=bf16-mixed",
        "schedule=one_cycle",
        "callbacks=[default,ema]",
        "loss=gaussian loss.scale=optimal data.binarize=none",
        "kl=warmup kl.period=5",
        "trainer.max_steps=5",
    ],
)
def test_it_gives_the_weights_and_counters_of_lightning(train, monkeypatch, words):
    taken, step = [], ShortLoop._step
    monkeypatch.setattr(ShortLoop, "_step", lambda *a: (taken.append(1), step(*a))[1])
    short = weights(train(*SMALL, *words.split(), folder="short"))
    assert len(taken) == short["global_step"]
    monkeypatch.setattr("vaelab.train.use_short_loop", lambda trainer: None)
    plain = weights(train(*SMALL, *words.split(), folder="plain"))
    for name, weight in plain["state_dict"].items():
        assert torch.equal(weight, short["state_dict"][name]), name
    assert short["global_step"] == plain["global_step"]
    assert short["loops"] == plain["loops"]
    assert short["lr_schedulers"] == plain["lr_schedulers"]


@pytest.mark.parametrize("words", ["trainer.accumulate_grad_batches=2"])
def test_what_it_cannot_do_is_left_to_lightning(train, monkeypatch, words):
    monkeypatch.setattr(ShortLoop, "_step", None)
    assert train(*SMALL, *words.split(), "trainer.log_every_n_steps=1000")["steps"] == 3


class Inside(Callback):
    calls = 0

    def on_after_backward(self, trainer, pl_module):
        Inside.calls += 1


def test_a_callback_inside_the_step_is_called_at_every_step(train):
    train(*SMALL, "+callbacks.inside._target_=test_loop.Inside", "trainer.log_every_n_steps=1000")
    import test_loop

    assert test_loop.Inside.calls == 6
