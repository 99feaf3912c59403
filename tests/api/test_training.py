"""fit and run_training: what they train, what they record, and what they refuse."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.loggers import CSVLogger
from torch import nn

import vaelab
from vaelab.api import training
from vaelab.kl.warmup import Warmup
from vaelab.objectives.iwae import IWAE
from vaelab.runs.recorded import read_recorded_run
from vaelab.schedules.cosine import Cosine

X = (np.random.default_rng(0).random((60, 1, 4, 4)) > 0.5).astype(np.float32)
QUICK = {
    "max_epochs": 1,
    "samples": 2,
    "accelerator": "cpu",
    "callbacks": "default callbacks.pictures.only=[samples]",
    "logger": None,
}


NETS = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, latent_dim, shape, width):
        super().__init__(nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, 16))


def encoder(shape, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, outputs))
"""


def small_model(**settings):
    return vaelab.make_model((1, 4, 4), 2, model="mlp model.hidden=[8]", **settings)


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Train a small model in tmp_path/runs."""
    monkeypatch.chdir(tmp_path)

    def train(vae=None, data=X, **settings):
        return vaelab.fit(vae or small_model(), data, **(QUICK | settings))

    return train


def test_a_run_is_reopened_with_the_same_model(fit):
    vae = small_model()
    run = fit(vae, seed=3)
    assert run.vae is vae
    assert run.folder.parent.name == "runs"
    opened = vaelab.load(run.folder)
    for name, weight in vae.state_dict().items():
        torch.testing.assert_close(weight, opened.vae.state_dict()[name], rtol=0, atol=0)
    assert torch.equal(opened.data.splits["test"].images, run.data.splits["test"].images)
    assert (opened.module.seed, opened.metrics["seed"]) == (3, 3)


def test_the_seed_alone_decides_the_numbers(fit):
    first = fit(small_model())
    torch.randn(5)
    again, other = fit(small_model()), fit(small_model(), seed=1)
    assert first.metrics["nll"] == again.metrics["nll"] != other.metrics["nll"]


def test_a_trained_model_is_trained_further(fit):
    vae = small_model()
    fit(vae)
    before = {name: each.clone() for name, each in vae.state_dict().items()}
    run = fit(vae, optimizer="adam optimizer.lr=1e-12")
    for name, weight in vae.state_dict().items():
        torch.testing.assert_close(weight, before[name])
    assert read_recorded_run(run.folder).cfg.given_in_python == ["weights"]


def test_words_factories_and_objects_train(fit):
    class Recorder(Callback):
        epochs = 0

        def on_train_epoch_end(self, trainer, module):
            self.epochs += 1

    recorder = Recorder()
    run = fit(
        objective=partial(IWAE, samples=3),
        kl="warmup kl.period=7",
        optimizer=partial(torch.optim.SGD, lr=1e-3),
        schedule=Cosine(),
        callbacks=(each for each in [QUICK["callbacks"], recorder]),
        logger=["csv", CSVLogger("own")],
        max_epochs=2,
    )
    objective = run.module.objective
    assert (objective.samples, type(objective.kl), objective.kl.period) == (3, Warmup, 7)
    assert recorder.epochs == run.metrics["epochs"] == 2
    assert {"val/elbo", "train/lr"} & run.history.keys()
    cfg = read_recorded_run(run.folder).cfg
    assert cfg.optimizer._target_ == "torch.optim.sgd.SGD"
    assert cfg.given_in_python == ["schedule", "callbacks", "logger"]


def test_a_weight_of_the_kl_may_be_an_object(fit):
    run = fit(kl=Warmup(period=5, beta=2.0))
    assert run.module.objective.kl.beta == 2.0


def test_objects_are_opened_with_the_model_at_hand(fit):
    def build():
        torch.manual_seed(1)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
        return vaelab.make_model((1, 4, 4), 2, encoder=encoder, decoder=nn.Linear(2, 16))

    run = fit(build())
    with pytest.raises(vaelab.UserError, match="its encoder, decoder came from a Python program"):
        vaelab.load(run.folder)
    opened = vaelab.load(run.folder, vae=build())
    assert torch.equal(opened.encode(X), run.encode(X))
    assert opened.nll(X, samples=2).shape == (60,)


def test_importable_factories_of_own_packages_are_opened_with_trust(fit, tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    import nets

    vae = vaelab.make_model((1, 4, 4), 2, encoder=nets.encoder, decoder=partial(nets.Net, width=5))
    run = fit(vae)
    with pytest.raises(vaelab.UserError, match=r"nets\.encoder is not trusted: .*--trust nets"):
        vaelab.load(run.folder)
    opened = vaelab.load(run.folder, trust=["nets"])
    assert torch.equal(opened.encode(X), run.encode(X))


def test_large_data_are_not_saved(fit, monkeypatch):
    monkeypatch.setattr(training, "MAX_SAVED_BYTES", 100)
    data = vaelab.make_data(X)
    run = fit(data=data)
    opened = vaelab.load(run.folder)
    assert opened.sample(3).shape == (3, 1, 4, 4)
    with pytest.raises(vaelab.UserError, match=r"data\.npz: there is no such file"):
        opened.encode()
    data.save(run.folder / "data.npz")
    assert opened.encode().shape == (6, 2)


def test_data_may_be_words(fit):
    run = fit(vaelab.make_model((2,), 2, loss="gaussian"), "toy2d data.train=50 data.test=20")
    assert len(run.data.splits["train"].images) == 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_epoch": 3}, "max_epoch=3: .*did you mean max_epochs"),
        ({"objective": "elboo"}, "elbo"),
        ({"strategy": "ddp"}, "one process"),
        ({"profiler": object()}, "plain values"),
        ({"max_epochs": "many"}, "max_epochs=many"),
        ({"data": np.random.default_rng(0).random((20, 2))}, "shape"),
        ({"data": np.ones((20, 1, 4, 4))}, "all 16 training images are equal"),
    ],
)
def test_mistakes_leave_nothing_behind(fit, tmp_path, settings, message):
    with pytest.raises(vaelab.UserError, match=message):
        fit(**settings)
    assert list((tmp_path / "runs").glob("*")) == []


def test_a_used_folder_is_refused(fit, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "note.txt").touch()
    with pytest.raises(vaelab.UserError, match="is not empty"):
        fit(folder="here")


def test_two_runs_of_one_second_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = set()
    for _ in range(5):
        with training._new_folder(None) as folder:
            folders.add(folder)
    assert len(folders) == 5


def test_run_training_takes_the_words_of_the_command_line(tmp_path):
    words = ["model.hidden=[8]", "trainer=smoke", "samples=2", "logger=none", "latent_dim=3"]
    words += ["callbacks.pictures.only=[samples]"]
    run = vaelab.run_training(*words, folder=tmp_path / "run")
    assert (run.vae.latent_dim, run.metrics["epochs"]) == (3, 1)
    assert read_recorded_run(run.folder).overrides == words
    with pytest.raises(vaelab.UserError, match=r"loss=bec: there is no such option"):
        vaelab.run_training("loss=bec", folder=tmp_path / "other")
    with pytest.raises(vaelab.UserError, match="use the command line"):
        vaelab.run_training("-m", "loss=bce,mse")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_run_of_words_is_repeated_bit_for_bit(fit):
    run = fit(max_epochs=2, optimizer=torch.optim.RMSprop)
    command = [sys.executable, "-m", "vaelab"]
    for words in (
        ["rerun", run.folder, "--out", "again"],
        ["evaluate", run.folder, "--samples", "2"],
        ["sample", run.folder, "n=2"],
        ["figures", run.folder, "--only", "samples"],
        ["resume", run.folder, "trainer.max_epochs=3"],
    ):
        done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert words[0] != "rerun" or "bit-identical" in done.stdout
    assert json.loads((run.folder / "metrics.json").read_text())["epochs"] == 3


@pytest.mark.parametrize("scale", [4095, 255, 255.5])
def test_scale_applies_to_the_data_of_an_opened_run_and_to_new_rows(fit, scale):
    x = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4)).astype(np.float32)
    data = vaelab.make_data(x, scale=scale)
    run = fit(data=data)
    again = vaelab.load(run.folder)
    for name, split in data.splits.items():
        assert torch.equal(again.data.splits[name].images, split.images)
    rows = x[:5]
    assert np.allclose(again.encode(rows), run.encode(rows))
    assert np.allclose(again.encode(rows), again.encode(rows.astype(int)))
