"""Every argument of Lightning's Trainer works in a run as documented, or is refused in one line."""

import csv
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from conftest import slow
from pytorch_lightning import Trainer

from vaelab.data.base import DataModule
from vaelab.module import VAEModule
from vaelab.runtime.errors import is_user_error, one_line_message

SMALL = ("model.hidden=[8]", "latent_dim=3", "logger=csv", "~callbacks.pictures")
STOPPING = (
    *("callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=1"),
    *("optimizer.lr=1e-30", "trainer.max_epochs=5"),
)


@dataclass
class Record:
    """What a run has done.

    Attributes:
        numbers: Its metrics.json.
        rows: The rows of its metrics.csv.
        training, validation: For each step, the labels of its batch and the modes of torch.
        gradients: The gradients of each optimizer step.
        loaders: The number of training data loaders.
        output: What it printed and logged.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, str]] = field(default_factory=list)
    training: list[dict[str, Any]] = field(default_factory=list)
    validation: list[dict[str, Any]] = field(default_factory=list)
    gradients: list[torch.Tensor] = field(default_factory=list)
    loaders: int = 0
    output: str = ""

    @property
    def labels(self) -> list[list[int]]:
        return [step["labels"] for step in self.training]

    def rows_with(self, key: str) -> list[dict[str, str]]:
        return [row for row in self.rows if row.get(key)]


@pytest.fixture
def record(train, monkeypatch, caplog, capfd) -> Callable[..., Record]:
    """Train with some words and record what happens."""

    def wrap(owner, name, before):
        original = getattr(owner, name)

        def wrapped(self, *args, **kwargs):
            before(self, *args, **kwargs)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    def describe_step(batch):
        return {
            "labels": batch[1].tolist(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "benchmark": torch.backends.cudnn.benchmark,
            "anomaly": torch.is_anomaly_enabled(),
            "autocast": torch.is_autocast_enabled("cpu"),
        }

    def keep_gradients(optimizer, *_, **__):
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        done.gradients.append(torch.cat([w.grad.flatten().clone() for w in weights]))

    def count_loader(self):
        done.loaders += 1

    done = Record()

    def train_and_record(*words: str) -> Record:
        is_deterministic = torch.are_deterministic_algorithms_enabled()
        wrap(VAEModule, "training_step", lambda s, b, n: done.training.append(describe_step(b)))
        wrap(VAEModule, "validation_step", lambda s, b, n: done.validation.append(describe_step(b)))
        wrap(DataModule, "train_dataloader", count_loader)
        wrap(torch.optim.SGD, "step", keep_gradients)
        try:
            with caplog.at_level("INFO"):
                done.numbers = train(*SMALL, *words)
        finally:
            torch.use_deterministic_algorithms(is_deterministic)
            torch.backends.cudnn.benchmark = False
        with (done.numbers["folder"] / "metrics.csv").open() as file:
            done.rows = list(csv.DictReader(file))
        done.output = caplog.text + "".join(capfd.readouterr())
        return done

    return train_and_record


EPOCHS_2 = ("trainer.max_epochs=2",)
NO_LIMITS = ("trainer.limit_train_batches=null", "trainer.limit_val_batches=null")
SGD = ("optimizer=sgd", "trainer.limit_train_batches=1")
WORKS: dict[str, Sequence[tuple[Sequence[str], Callable[[Record], Any]]]] = {
    "accelerator": [(["trainer.accelerator=cpu"], lambda r: r.numbers["steps"] == 2)],
    "precision": [(["trainer.precision=bf16-mixed"], lambda r: r.training[0]["autocast"])],
    "max_epochs": [(EPOCHS_2, lambda r: r.numbers["epochs"] == 2)],
    "max_steps": [(["trainer.max_steps=1"], lambda r: r.numbers["steps"] == 1)],
    "min_epochs": [([*STOPPING, "+trainer.min_epochs=4"], lambda r: r.numbers["epochs"] == 4)],
    "min_steps": [([*STOPPING, "+trainer.min_steps=7"], lambda r: r.numbers["steps"] == 7)],
    "max_time": [
        (["+trainer.max_time={milliseconds:1}"], lambda r: r.numbers["steps"] == 1),
        (["+trainer.max_time={hours:1}"], lambda r: r.numbers["steps"] == 2),
    ],
    "limit_train_batches": [
        (["trainer.limit_train_batches=1"], lambda r: r.numbers["steps"] == 1),
        (["trainer.limit_train_batches=0.1"], lambda r: r.numbers["steps"] == 3),
    ],
    "limit_val_batches": [
        (["trainer.limit_val_batches=1"], lambda r: len(r.validation) == 1),
        (["trainer.limit_val_batches=0"], lambda r: r.validation == []),
    ],
    "overfit_batches": [
        (
            [*EPOCHS_2, *NO_LIMITS, "+trainer.overfit_batches=2"],
            lambda r: r.labels[:2] == r.labels[2:] and r.labels[0] != r.labels[1],
        )
    ],
    "val_check_interval": [
        (["+trainer.val_check_interval=1"], lambda r: len(r.rows_with("val/elbo")) == 2),
        (["+trainer.val_check_interval=0.5"], lambda r: len(r.rows_with("val/elbo")) == 2),
        (
            ["+trainer.val_check_interval=00:00:00:00"],
            lambda r: len(r.rows_with("val/elbo")) == 2,
        ),
    ],
    "check_val_every_n_epoch": [
        (
            [*EPOCHS_2, "trainer.check_val_every_n_epoch=2"],
            lambda r: len(r.rows_with("val/elbo")) == 1,
        ),
        (
            ["trainer.check_val_every_n_epoch=null", "+trainer.val_check_interval=1"],
            lambda r: len(r.rows_with("val/elbo")) == 2,
        ),
    ],
    "num_sanity_val_steps": [
        (
            ["+trainer.num_sanity_val_steps=2"],
            lambda r: len(r.validation) == 4 and len(r.rows_with("val/elbo")) == 1,
        )
    ],
    "log_every_n_steps": [
        (["trainer.log_every_n_steps=2"], lambda r: len(r.rows_with("train/loss")) == 1),
        (["trainer.log_every_n_steps=0"], lambda r: r.rows_with("train/loss") == []),
    ],
    "enable_model_summary": [
        (["+trainer.enable_model_summary=true"], lambda r: "Trainable params" in r.output)
    ],
    "accumulate_grad_batches": [
        (["trainer.accumulate_grad_batches=2"], lambda r: r.numbers["steps"] == 1)
    ],
    "gradient_clip_val": [
        (
            [*SGD, "trainer.gradient_clip_val=0.01"],
            lambda r: r.gradients[0].norm().item() == pytest.approx(0.01, rel=1e-3),
        )
    ],
    "gradient_clip_algorithm": [
        (
            [
                *SGD,
                *("trainer.gradient_clip_val=0.01", "+trainer.gradient_clip_algorithm=value"),
                f"trainer.precision={precision}",
            ],
            lambda r: r.gradients[0].abs().max().item() == pytest.approx(0.01),
        )
        for precision in ("32-true", "bf16-mixed")
    ],
    "deterministic": [
        (["+trainer.deterministic=true"], lambda r: r.training[0]["deterministic"]),
        (["+trainer.deterministic=warn"], lambda r: r.training[0]["deterministic"]),
    ],
    "benchmark": [(["+trainer.benchmark=true"], lambda r: r.training[0]["benchmark"])],
    "enable_progress_bar": [
        (["+trainer.enable_progress_bar=true"], lambda r: "epoch 1/1" in r.output),
        (["+trainer.enable_progress_bar=false"], lambda r: "epoch 1/1" not in r.output),
    ],
    "profiler": [(["+trainer.profiler=simple"], lambda r: "run_training_batch" in r.output)],
    "detect_anomaly": [(["+trainer.detect_anomaly=true"], lambda r: r.training[0]["anomaly"])],
    "reload_dataloaders_every_n_epochs": [
        (
            [*EPOCHS_2, "+trainer.reload_dataloaders_every_n_epochs=1"],
            lambda r: r.loaders == 2 and r.labels[:2] != r.labels[2:],
        )
    ],
}

REFUSED: dict[str, Sequence[tuple[Sequence[str], str]]] = {
    "accelerator": [(["trainer.accelerator=abacus"], "abacus")],
    "strategy": [(["+trainer.strategy=ddp"], "write trainer=ddp")],
    "devices": [
        (["trainer.devices=2"], "several processes need trainer=ddp"),
        (["trainer.devices=auto"], "give the number of processes"),
        (["trainer.devices=0"], "so set 1 to"),
    ],
    "num_nodes": [
        (["+trainer.num_nodes=2"], "several machines need srun"),
        (["+trainer.num_nodes=0"], "trainer.num_nodes=0: it must be at least 1"),
    ],
    "precision": [
        (["trainer.precision=64"], "trainer.precision=64: choose from"),
        (["trainer.precision=16-mixed"], "16-mixed needs a GPU: set bf16-mixed"),
    ],
    "logger": [(["+trainer.logger=false"], "choose loggers by logger=")],
    "callbacks": [(["+trainer.callbacks=[]"], "choose callbacks by callbacks=")],
    "fast_dev_run": [(["+trainer.fast_dev_run=true"], "write trainer=smoke")],
    "max_epochs": [
        (["trainer.max_epochs=0"], "max_epochs=0 trains nothing: set at least 1, or -1"),
        (["trainer.max_epochs=-2"], "max_epochs"),
    ],
    "max_steps": [(["trainer.max_steps=0"], "max_steps=0 trains nothing: set at least 1, or -1")],
    "min_epochs": [
        (["+trainer.min_epochs=2"], "min_epochs=2 needs 4 optimizer steps, but .* allow 2"),
        (["+trainer.min_epochs=-1"], "min_epochs=-1: it must be at least 0"),
    ],
    "min_steps": [
        (["+trainer.min_steps=3"], "min_steps=3 needs 3 optimizer steps, but .* allow 2")
    ],
    "max_time": [
        (["+trainer.max_time=soon"], "soon"),
        (["+trainer.max_time=00:00:00:00"], "max_time trains nothing"),
    ],
    "limit_train_batches": [
        (["trainer.limit_train_batches=0"], "trains nothing: set at least 1, or null"),
        (["trainer.limit_train_batches=-1"], "limit_train_batches"),
    ],
    "limit_val_batches": [
        (
            ["trainer.limit_val_batches=0", "callbacks=[default,early_stopping]"],
            "early_stopping needs validation images: set trainer.limit_val_batches=null",
        ),
        (["trainer.limit_val_batches=-1"], "limit_val_batches"),
    ],
    "limit_test_batches": [(["+trainer.limit_test_batches=1"], "set evaluate.images")],
    "limit_predict_batches": [(["+trainer.limit_predict_batches=1"], "a run predicts nothing")],
    "overfit_batches": [
        (["+trainer.overfit_batches=1"], "would replace trainer.limit_train_batches=2"),
    ],
    "val_check_interval": [(["+trainer.val_check_interval=0"], "val_check_interval=0: it must be")],
    "check_val_every_n_epoch": [
        (["trainer.check_val_every_n_epoch=0"], "=0: it must be at least 1, or null"),
        (
            ["trainer.check_val_every_n_epoch=null", "+trainer.val_check_interval=0.5"],
            "check_val_every_n_epoch=None",
        ),
    ],
    "num_sanity_val_steps": [(["+trainer.num_sanity_val_steps=-2"], "it must be at least -1")],
    "log_every_n_steps": [(["trainer.log_every_n_steps=-1"], "it must be at least 0")],
    "enable_checkpointing": [(["+trainer.enable_checkpointing=false"], "~callbacks.checkpoint")],
    "accumulate_grad_batches": [(["trainer.accumulate_grad_batches=0"], "it must be at least 1")],
    "gradient_clip_val": [
        (["trainer.gradient_clip_val=-1"], "gradient_clip_val=-1: it must be positive, or null"),
        (["trainer.gradient_clip_val=0"], "gradient_clip_val=0: it must be positive, or null"),
    ],
    "gradient_clip_algorithm": [
        (["+trainer.gradient_clip_algorithm=value"], "needs trainer.gradient_clip_val"),
        (
            ["trainer.gradient_clip_val=1", "+trainer.gradient_clip_algorithm=sum"],
            "`gradient_clip_algorithm` sum is invalid",
        ),
    ],
    "inference_mode": [(["+trainer.inference_mode=false"], "has no effect during a fit")],
    "use_distributed_sampler": [
        (["+trainer.use_distributed_sampler=false"], "divides every batch among the processes")
    ],
    "profiler": [(["+trainer.profiler=guess"], "can only be one of")],
    "barebones": [(["+trainer.barebones=true"], "scripts/benchmark.py measures")],
    "plugins": [(["+trainer.plugins=[]"], "a plugin of its own")],
    "sync_batchnorm": [(["+trainer.sync_batchnorm=true"], "several processes on GPUs")],
    "reload_dataloaders_every_n_epochs": [
        (["+trainer.reload_dataloaders_every_n_epochs=-1"], "reload_dataloaders_every_n_epochs")
    ],
    "default_root_dir": [(["+trainer.default_root_dir=x"], "hydra.run.dir=<folder>")],
    "enable_autolog_hparams": [
        (["+trainer.enable_autolog_hparams=false"], "a run always logs its config")
    ],
    "model_registry": [(["+trainer.model_registry=name"], "a run uploads no model")],
}


def test_every_argument_of_the_trainer_works_or_is_refused():
    """Fails if Lightning adds an argument; strategy=ddp and sync_batchnorm need more machines."""
    arguments = inspect.signature(Trainer.__init__).parameters.keys() - {"self"}
    assert WORKS.keys() | REFUSED.keys() == arguments


def list_cases(table):
    return [
        pytest.param(*case, id=f"{name}-{i}")
        for name in table
        for i, case in enumerate(table[name])
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*deterministic.*")
@pytest.mark.filterwarnings("ignore:You requested to overfit.*")
@pytest.mark.parametrize(("words", "check"), list_cases(WORKS))
def test_argument_works(record, words, check):
    assert check(record(*words))


@pytest.mark.parametrize(("words", "message"), list_cases(REFUSED))
def test_argument_is_refused_before_the_first_step(train, tmp_path, words, message):
    with pytest.raises(Exception, match=message) as raised:
        train(*SMALL, *words)
    assert is_user_error(raised.value)
    assert "\n" not in one_line_message(raised.value)
    assert re.search(message, one_line_message(raised.value))
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_sanity_check_does_not_change_the_run(train):
    def weights(folder, *words):
        numbers = train(*SMALL, *words, folder=folder)
        path = numbers["folder"] / "checkpoints" / "last.ckpt"
        return torch.load(path, weights_only=True)["state_dict"]

    expected = weights("plain")
    for folder, word in (("sanity", "num_sanity_val_steps=2"), ("profiler", "profiler=simple")):
        for name, weight in weights(folder, f"+trainer.{word}").items():
            assert torch.equal(weight, expected[name]), name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("StochasticWeightAveraging", "callbacks=[default,ema]"),
        ("BatchSizeFinder", "set data.batch_size"),
        ("LearningRateFinder", "set optimizer.lr"),
    ],
)
def test_callback_whose_effect_a_run_would_lose_is_refused(train, name, hint):
    words = [f"+callbacks.own._target_=pytorch_lightning.callbacks.{name}"]
    words += ["+callbacks.own.swa_lrs=0.1"] if name == "StochasticWeightAveraging" else []
    with pytest.raises(ValueError, match=name) as raised:
        train(*SMALL, *words)
    assert hint in str(raised.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.lr=0"], "optimizer.lr=0 trains nothing"),
        (["+resume=x"], "write resume=x"),
        (["optimizer._target_=torch.optim.LBFGS"], "LBFGS computes the loss several times"),
        (["optimizer._target_=torch.optim.Muon"], "optimizer: Muon only supports 2D"),
        (["optimizer._partial_=false"], "optimizer needs the key _partial_: true"),
        (["optimizer._target_=torch.optim.SGD", "optimizer.betas=[0.5,0.9]"], "optimizer.betas"),
    ],
)
def test_setting_without_sense_is_refused(train, words, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        train(*SMALL, *words)


@pytest.mark.parametrize(
    "words",
    [
        "optimizer._target_=torch.optim.RMSprop",
        *slow(
            "optimizer={_target_:torch.optim.RMSprop,_partial_:true,lr:1e-3}",
            "optimizer._target_=torch.optim.SGD +optimizer.momentum=0.9",
            "optimizer._target_=torch.optim.Adagrad",
            "optimizer._target_=torch.optim.Adafactor",
            "optimizer._target_=torch.optim.NAdam",
            "optimizer._target_=torch.optim.Rprop",
            "optimizer=adamw optimizer._target_=torch.optim.ASGD",
        ),
    ],
)
def test_any_optimizer_of_torch_trains_and_its_run_opens(train, words):
    from vaelab.runs.run import RunParts

    numbers = train(*SMALL, *words.split())
    assert numbers["steps"] == 2
    name = words.replace("optimizer={_target_:", "optimizer._target_=").split("torch.optim.")[1]
    optimizer = RunParts.open(numbers["folder"]).module.build_optimizer()
    assert type(optimizer).__name__ == name.replace(",", " ").split()[0]


@pytest.mark.slow
def test_a_run_may_have_no_callbacks_and_no_loggers(command):
    words = ("trainer=smoke", "trainer.accelerator=cpu", "samples=2", "model.hidden=[8]")
    status, output = command("train.py", *words, "callbacks=[]", "logger=[]")
    assert status == 0, output
