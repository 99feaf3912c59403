"""VAEModule in a Trainer of the user's own, with any data loader."""

import copy
import math
from functools import partial
from itertools import chain

import pytest
import pytorch_lightning as pl
import torch
from conftest import CONF
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from vaelab.data.base import DataModule, Split
from vaelab.kl.constant import ConstantWeight
from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.models.mlp import Decoder, Encoder
from vaelab.module import DEFAULT_LEARNING_RATE, VAEModule
from vaelab.objectives.beta_tc import BetaTC
from vaelab.objectives.elbo import ELBO
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.normal import UnitNormal
from vaelab.priors.vamp import Vamp
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import UserError
from vaelab.schedules.cosine import Cosine
from vaelab.schedules.plateau import Plateau
from vaelab.training.batches import count_new_images, read_batch
from vaelab.vae import VAE

X = (torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.3).float()
WARNINGS = (
    "ignore:.*does not have many workers.*",
    "ignore:.*sampler has shuffling enabled.*",
    "ignore:.*smaller than the logging interval.*",
    "ignore:.*have no `val_dataloader`.*",
    "ignore:.*`weights_only` was not set.*",
    "ignore:Total length of `list` across ranks is zero.*",
)
pytestmark = [pytest.mark.filterwarnings(text) for text in WARNINGS]


def make_vae(**parts):
    networks = {"encoder": partial(Encoder, hidden=[8]), "decoder": partial(Decoder, hidden=[8])}
    others = {"posterior": Diagonal, "prior": UnitNormal, "likelihood": Bernoulli}
    return VAE((1, 4, 4), 3, **(networks | others | parts))


@pytest.fixture
def trainer(tmp_path):
    """Build a Trainer without what this test does not ask for."""

    def build_trainer(**arguments):
        off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        settings = dict.fromkeys(off, False) | {"accelerator": "cpu", "max_epochs": 2}
        return pl.Trainer(default_root_dir=tmp_path, **(settings | arguments))

    return build_trainer


class Stream(IterableDataset):
    """Images that are never in memory together, in batches of the data loader."""

    def __iter__(self):
        return iter(X)


class OwnData(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader([{"x": x, "y": 1} for x in X], batch_size=16, shuffle=True)

    def val_dataloader(self):
        return DataLoader(TensorDataset(X), batch_size=16)

    test_dataloader = predict_dataloader = val_dataloader


class OwnSplits(DataModule):
    def load(self):
        labels = torch.zeros(len(X), 0)
        images = (255 * X).to(torch.uint8)
        return {"train": Split(images, labels), "val": Split(images[:0], labels[:0])} | {
            "test": Split(images, labels)
        }


@pytest.mark.parametrize(
    "batch",
    [X, (X,), [X, torch.arange(50)], {"x": X}, {"x": X, "y": torch.arange(50)}, [255 * X.byte()]],
)
def test_batches_of_every_form_are_read(batch):
    x, y = read_batch(batch)
    assert torch.equal(x, X)
    assert y.shape in ((50, 0), (50,))


@pytest.mark.parametrize("batch", [(X, X, X), {"image": X}, "x", [[X], [X]], X.long()])
def test_another_form_of_a_batch_is_refused(batch):
    with pytest.raises(UserError, match=r"a batch is (a|of) .*return a tensor|int64"):
        read_batch(batch)


def elbo_of(module, loader):
    """Compute the mean ELBO over the batches of a loader as validation does, by hand."""
    from vaelab.runtime.seeding import Stream as Noise
    from vaelab.runtime.seeding import seeded_noise

    total = images = 0
    module.eval()
    with torch.no_grad():
        for number, batch in enumerate(loader):
            with seeded_noise(Noise.EVALUATION, module.seed, number):
                terms = module.terms(batch, module.steps_taken)
            total += terms["elbo"].double().sum()
            images += len(terms["elbo"])
    module.train()
    return (total / images).item()


@pytest.mark.parametrize("data", ["loaders", "data module", "stream", "splits"])
def test_fit_validate_test_and_predict(trainer, data):
    module, own = VAEModule(make_vae()), trainer()
    loader = DataLoader(Stream() if data == "stream" else X, batch_size=16)
    if data in ("loaders", "stream"):
        own.fit(module, loader, loader)
        evaluated, source = loader, {"dataloaders": loader}
    else:
        module_of_data = OwnData() if data == "data module" else OwnSplits((1, 4, 4), batch_size=16)
        own.fit(module, datamodule=module_of_data)
        size = 16 if data == "data module" else module_of_data.evaluation_batch
        evaluated, source = DataLoader(X, batch_size=size), {"datamodule": module_of_data}
    assert own.global_step == 8
    assert module.objective.dataset_size == (None if data == "stream" else 50)
    expected = elbo_of(module, evaluated)
    if data == "splits":  # which has no validation images
        assert "val/elbo" not in own.callback_metrics
    else:
        assert own.callback_metrics["val/elbo"] == pytest.approx(expected, rel=1e-6)
        (means,) = own.validate(module, **source, verbose=False)
        assert means["val/elbo"] == pytest.approx(expected, rel=1e-6)
    (means,) = own.test(module, **source, verbose=False)
    assert means["test/elbo"] == pytest.approx(expected, rel=1e-6)
    latents = torch.cat(own.predict(module, **source))
    module.eval()
    torch.testing.assert_close(latents, module.vae.encode(X).mean)
    torch.testing.assert_close(module(X), module.vae.decode(latents).mean)


def test_training_lowers_the_loss_and_its_terms_are_monitored(trainer, tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    best = ModelCheckpoint(tmp_path, monitor="train/loss", save_weights_only=False)
    stop = EarlyStopping("val/elbo", mode="max", patience=50)
    own = trainer(
        max_epochs=30,
        logger=logger,
        callbacks=[best, stop],
        enable_checkpointing=True,
        log_every_n_steps=1,
    )
    module = VAEModule(make_vae())
    before = elbo_of(module, DataLoader(X, batch_size=16))
    own.fit(module, DataLoader(X, batch_size=16), DataLoader(X, batch_size=16))
    assert own.callback_metrics["val/elbo"] > before + 0.5
    assert math.isfinite(best.best_model_score)
    text = (tmp_path / "metrics.csv").read_text()
    assert "train/loss" in text
    assert "val/elbo" in text


def test_several_validation_loaders_have_a_mean_each(trainer):
    module, own = VAEModule(make_vae()), trainer()
    loaders = [DataLoader(X[:20], batch_size=8), DataLoader(X[20:], batch_size=8)]
    own.fit(module, DataLoader(X, batch_size=16), loaders)
    for name, loader in zip(("val/elbo", "val/elbo/dataloader_idx_1"), loaders, strict=True):
        expected = elbo_of(module, loader)
        assert own.callback_metrics[name] == pytest.approx(expected, rel=1e-6)
    (means,) = own.validate(module, loaders[0], verbose=False)
    assert set(means) == {f"val/{name}" for name in ("loss", "reconstruction", "kl", "elbo")} | {
        "val/kl_weight"
    }


def test_padded_images_of_a_distributed_sampler_do_not_count():
    """7 images on 3 processes: the sampler repeats 2, and each process evaluates 3 images."""
    counted = []
    for rank in range(3):
        sampler = torch.utils.data.DistributedSampler(range(7), 3, rank, shuffle=False)
        loader = DataLoader(range(7), batch_size=2, sampler=sampler)
        counted += [
            batch[: count_new_images(loader, number, len(batch), rank, 3)].tolist()
            for number, batch in enumerate(loader)
        ]
    assert sorted(chain.from_iterable(counted)) == [*range(7)]
    assert count_new_images([1, 2], 0, 5, 0, 2) == 5


@pytest.mark.slow
def test_mean_of_two_processes_is_that_over_the_images(shell, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(
        "import sys; sys.path.append(sys.argv[1])\n"
        "import torch, test_module as t, pytorch_lightning as pl\n"
        "from torch.utils.data import DataLoader\n"
        "if __name__ == '__main__':\n"
        "    n = int(sys.argv[2]); torch.manual_seed(0)\n"
        "    own = pl.Trainer(accelerator='cpu', devices=n, logger=False, max_epochs=1,\n"
        "        strategy='ddp' if n > 1 else 'auto', enable_checkpointing=False,\n"
        "        enable_progress_bar=False)\n"
        "    module = t.VAEModule(t.make_vae(), optimizer=lambda g: torch.optim.SGD(g, lr=1e-30))\n"
        "    module.vae.initialize(t.X)\n"
        "    loader = DataLoader(t.X[:49], batch_size=7)\n"
        "    own.fit(module, loader, loader)\n"
        "    means = own.callback_metrics\n"
        "    if own.is_global_zero: print('KL', means['val/kl'].item())\n"
    )
    from conftest import ROOT

    printed = [shell(str(script), str(ROOT / "tests"), str(n)) for n in (1, 2)]
    one, two = (float(text.split("KL ")[1].split()[0]) for text in printed)
    assert two == pytest.approx(one, rel=1e-6)  # the KL has no noise


def test_first_batch_initializes_the_model_once(trainer, monkeypatch):
    calls, initialize = [], VAE.initialize
    monkeypatch.setattr(VAE, "initialize", lambda self, x: (calls.append(x), initialize(self, x)))
    module = VAEModule(make_vae(prior=partial(Vamp, components=5)))
    trainer().fit(module, DataLoader(X, batch_size=16))
    assert [x.tolist() for x in calls] == [X[:16].tolist()]
    trainer().fit(module, DataLoader(X, batch_size=16))
    assert len(calls) == 1
    explicit = VAEModule(make_vae())
    explicit.vae.initialize(X)
    trainer().fit(explicit, DataLoader(X, batch_size=16))
    assert len(calls) == 2


def test_restored_weights_are_initialized_ones(trainer):
    class NaNInSecondStep(Callback):
        def on_after_backward(self, trainer, pl_module):
            if trainer.global_step == 0:
                self.initialized = copy.deepcopy(pl_module.state_dict())
            else:
                next(pl_module.parameters()).grad.fill_(math.nan)

    spoil = NaNInSecondStep()
    module = VAEModule(make_vae(), on_nan="restore", optimizer=partial(torch.optim.SGD, lr=1e-30))
    trainer(max_steps=2, max_epochs=-1, callbacks=[spoil]).fit(module, DataLoader(X, batch_size=50))
    assert module.guard.events == 1
    for name, weight in module.state_dict().items():
        torch.testing.assert_close(weight, spoil.initialized[name])


def test_unknown_number_of_images_is_an_error_of_objectives_that_need_it(trainer):
    loader = DataLoader(Stream(), batch_size=16)
    with pytest.raises(UserError, match=r"BetaTC needs the number of training images.*set module"):
        trainer().fit(VAEModule(make_vae(), BetaTC()), loader)
    trainer().fit(VAEModule(make_vae(), BetaTC(estimator="full")), loader)
    module = VAEModule(make_vae(), BetaTC())
    module.objective.dataset_size = 50
    trainer().fit(module, loader)


def test_unknown_number_of_steps_is_an_error_of_schedules_that_need_it(trainer):
    loader = DataLoader(Stream(), batch_size=16)
    module = VAEModule(make_vae(), schedule=Cosine())
    with pytest.raises(UserError, match=r"Cosine needs to know the number of optimizer steps"):
        trainer().fit(module, loader)
    trainer(max_steps=5, max_epochs=-1).fit(module, loader)
    with pytest.raises(UserError, match="Plateau needs validation images"):
        trainer().fit(VAEModule(make_vae(), schedule=Plateau()), loader)


def test_defaults_are_the_elbo_and_adam_of_the_menu():
    module = VAEModule(make_vae())
    optimizer = module.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert type(module.objective) is ELBO
    assert isinstance(module.objective.kl, ConstantWeight)
    option = OmegaConf.load(CONF / "optimizer" / "adam.yaml")
    assert optimizer.param_groups[0]["lr"] == option.lr == DEFAULT_LEARNING_RATE
    assert optimizer.param_groups[0]["betas"] == tuple(option.betas)
    assert optimizer.param_groups[0]["eps"] == option.eps
    own = VAEModule(make_vae(), optimizer=torch.optim.AdamW).configure_optimizers()
    assert type(own) is torch.optim.AdamW


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam"])
def test_optimizer_that_cannot_train_a_vae_is_refused(name):
    with pytest.raises(UserError, match=rf"optimizer: {name} .*optimizer=adam"):
        VAEModule(make_vae(), optimizer=getattr(torch.optim, name)).configure_optimizers()


def test_checkpoint_of_a_plain_trainer_loads_with_the_model(trainer, tmp_path):
    module, own = VAEModule(make_vae()), trainer()
    own.fit(module, DataLoader(X, batch_size=16))
    own.save_checkpoint(tmp_path / "x.ckpt")
    loaded = VAEModule.load_from_checkpoint(tmp_path / "x.ckpt", vae=make_vae())
    assert torch.equal(loaded(X), module(X))
    assert (loaded.vae.is_initialized, loaded.steps_taken) == (True, 8)
    assert loaded.objective.dataset_size == 50
    with pytest.raises(UserError, match=r"no config: pass the model .*path, vae=vae"):
        VAEModule.load_from_checkpoint(tmp_path / "x.ckpt")


def test_plain_trainer_resumes_a_checkpoint(trainer, tmp_path):
    loader = DataLoader(X, batch_size=16)
    whole, own = VAEModule(make_vae()), trainer(max_epochs=1)
    start = copy.deepcopy(whole.vae)
    own.fit(whole, loader)
    own.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)
    resumed, longer = VAEModule(start), trainer(max_epochs=2)
    longer.fit(resumed, loader, ckpt_path=tmp_path / "x.ckpt", weights_only=True)
    assert longer.global_step == 8
    assert resumed.vae.is_initialized


def test_checkpoint_of_a_run_builds_its_module(finished_run):
    folder = finished_run("model.hidden=[8]", "latent_dim=3", "objective=iwae", "kl.beta=2")[
        "folder"
    ]
    path = folder / "checkpoints" / "best.ckpt"
    module = VAEModule.load_from_checkpoint(path)
    run = RunParts.open(folder)
    x = torch.rand(5, 1, 28, 28)
    assert torch.equal(module(x), run.module(x))
    assert type(module.objective) is type(run.module.objective)
    assert module.config == run.module.config
    other = VAEModule.load_from_checkpoint(path, seed=7, on_nan="skip")
    assert (other.seed, other.guard.on_nan) == (7, "skip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_target_": "torch.utils.collect_env.run"}, "is not a class of"),
        ({"_target_": "vaelab.vae.VAE"}, "is not VAEModule"),
        ({"vae": {"_target_": "subprocess.Popen", "args": "ls"}}, "is not a class of"),
        ({"seed": "${oc.env:HOME}"}, "may only refer to its own keys"),
    ],
)
def test_untrusted_checkpoint_builds_nothing_else(finished_run, change, message, tmp_path):
    words = ("model.hidden=[8]", "latent_dim=3", "objective=iwae", "kl.beta=2")
    path = finished_run(*words)["folder"] / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"] |= change
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=message):
        VAEModule.load_from_checkpoint(tmp_path / "x.ckpt")


def test_validation_of_a_loaded_module_uses_the_steps_of_its_training(trainer, tmp_path):
    from vaelab.kl.warmup import Warmup

    module, own = VAEModule(make_vae(), ELBO(Warmup(period=16))), trainer()
    loader = DataLoader(X, batch_size=16)
    own.fit(module, loader, loader)
    own.save_checkpoint(tmp_path / "x.ckpt")
    loaded = VAEModule.load_from_checkpoint(
        tmp_path / "x.ckpt", vae=make_vae(), objective=ELBO(Warmup(period=16))
    )
    (means,) = trainer().validate(loaded, loader, verbose=False)
    assert means["val/kl_weight"] == own.callback_metrics["val/kl_weight"] == 0.5
