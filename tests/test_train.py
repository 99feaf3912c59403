"""A whole run: training, checkpoints, evaluation and files."""

import csv
import json
import logging
import math
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from vaelab.callbacks.resume_state import ResumeState
from vaelab.data.base import OrderedBatches, Split
from vaelab.module import VAEModule
from vaelab.runs.run import RunParts

SMALL = ("model.hidden=[16]", "latent_dim=4")


def are_equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


def load_weights(numbers, name="last"):
    path = numbers["folder"] / "checkpoints" / f"{name}.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def test_same_seed_gives_the_same_run(train):
    first, second, other = (
        train(*SMALL, f"seed={seed}", folder=folder)
        for seed, folder in ((1, "first"), (1, "second"), (2, "other"))
    )
    assert are_equal(load_weights(first), load_weights(second))
    assert not are_equal(load_weights(first), load_weights(other))
    for name in ("elbo", "nll", "kl", "val_elbo"):
        assert first[name] == second[name] != other[name]


def test_building_a_run_does_not_change_its_config(config):
    cfg = config(*SMALL, "objective=iwae", "kl=warmup")
    before = OmegaConf.to_yaml(cfg)
    RunParts.build(cfg)
    assert OmegaConf.to_yaml(cfg) == before


def test_run_folder_contains_config_checkpoints_metrics_and_figures(train):
    numbers = train(*SMALL, "logger=csv")
    folder = numbers["folder"]
    for name in (".hydra/config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (folder / name).is_file()
    for name in ("reconstructions", "samples"):
        with Image.open(folder / "figures" / f"{name}.png") as image:
            assert image.size[0] > 500
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"train/loss", "train/kl_weight", "val/elbo", "test/elbo"} <= rows[0].keys()
    assert not (folder / "hparams.yaml").exists()


def test_metrics_json_describes_the_numbers_and_the_run(train):
    numbers = train(*SMALL, "seed=3")
    assert numbers["choices"]["model"] == "mlp"
    assert numbers["versions"]["torch"] == version("torch")
    assert (numbers["split"], numbers["images"], numbers["all_images"]) == ("test", 100, 500)
    assert numbers["seed"] == 3
    assert (numbers["measure"], numbers["pixels"], numbers["samples"]) == (
        "probability",
        "binary",
        2,
    )
    assert numbers["steps"] == numbers["step"] == 2
    assert numbers["wall_s"] > 0
    assert len(numbers["bits_sha256"]) == 64
    assert numbers["best"] == numbers["val_elbo"]


def test_finished_run_opens_with_its_evaluated_weights(train):
    from vaelab.evaluation.likelihood import evaluate_likelihood

    numbers = train(*SMALL)
    run = RunParts.open(numbers["folder"])
    assert run.step == 2
    evaluated = evaluate_likelihood(run.vae, run.data, "test", samples=2, images=100)
    assert evaluated["elbo"] == pytest.approx(numbers["elbo"], abs=1e-9)
    assert evaluated["nll"] == pytest.approx(numbers["nll"], abs=1e-9)


@pytest.mark.slow
def test_last_checkpoint_is_of_the_last_step_if_the_best_is_earlier(train):
    numbers = train(*SMALL, "trainer.max_epochs=2", "optimizer.lr=1e-30")
    folder = numbers["folder"] / "checkpoints"
    best, last = (
        torch.load(folder / f"{name}.ckpt", weights_only=True) for name in ("best", "last")
    )
    assert (best["global_step"], last["global_step"], numbers["step"]) == (2, 4, 2)


def test_checkpoint_contains_plain_weights_states_and_config_only(train):
    checkpoint = torch.load(
        train(*SMALL)["folder"] / "checkpoints" / "last.ckpt", weights_only=True
    )
    assert checkpoint["hyper_parameters"]["_target_"] == "vaelab.module.VAEModule"
    assert checkpoint["hyper_parameters"]["vae"]["latent_dim"] == 4
    assert not any("prior" in name for name in checkpoint["state_dict"])


@pytest.mark.slow
def test_writing_checkpoints_prints_no_messages(train, caplog):
    with caplog.at_level("INFO"), caplog.at_level("INFO", "pytorch_lightning"):
        train("trainer.max_epochs=2")
        logging.getLogger("pytorch_lightning").info("messages are captured")
    assert "messages are captured" in caplog.text
    assert "weights_only" not in caplog.text


@pytest.mark.slow
def test_training_increases_the_elbo(train):
    longer = (
        "trainer.max_epochs=8",
        "trainer.limit_train_batches=null",
        "trainer.limit_val_batches=null",
    )
    numbers = train("model.hidden=[64]", *longer)
    assert numbers["elbo"] > -175  # a single Bernoulli for each pixel reaches about -206


@pytest.mark.slow
def test_best_weights_are_evaluated_instead_of_the_last(train):
    numbers = train(
        *SMALL, "optimizer.lr=0.5", "trainer.max_epochs=4", "trainer.limit_train_batches=8"
    )
    best = torch.load(numbers["folder"] / "checkpoints" / "best.ckpt", weights_only=True)
    assert numbers["step"] == best["global_step"]


@pytest.mark.slow
def test_averaged_weights_are_validated_saved_and_evaluated(train):
    numbers = train(*SMALL, "callbacks=[default,ema]", "callbacks.ema.decay=0.5")
    averaged, plain = load_weights(numbers), load_weights(train(*SMALL, folder="plain"))
    assert not are_equal(averaged, plain)
    assert are_equal(load_weights(numbers, "best"), averaged)
    run = RunParts.open(numbers["folder"])
    assert are_equal(run.module.state_dict(), averaged)


@pytest.mark.slow
def test_weight_averaging_does_not_slow_down_a_short_run(train):
    words = ["model.hidden=[64]", "trainer=default", "trainer.max_epochs=8"]
    assert train(*words, "callbacks=[default,ema]")["elbo"] > -175


def test_early_stopping_stops_the_training(train):
    numbers = train(
        *SMALL,
        "callbacks=[default,early_stopping]",
        "callbacks.early_stopping.patience=1",
        "optimizer.lr=1e-30",
        "trainer.max_epochs=9",
    )
    assert numbers["epochs"] == 2


def test_early_stopping_without_validation_is_refused(train, idx):
    with pytest.raises(ValueError, match=r"needs validation images: set data\.validation"):
        train(
            "data=mnist",
            f"data.root={idx.root}",
            "data.validation=0",
            "callbacks=[default,early_stopping]",
        )


@pytest.mark.slow
def test_last_weights_are_the_best_without_validation(train, idx):
    numbers = train("data=mnist", f"data.root={idx.root}", "data.validation=0", "data.batch_size=8")
    assert math.isnan(numbers["best"])
    assert "val_elbo" not in numbers
    assert are_equal(load_weights(numbers, "best"), load_weights(numbers, "last"))


@pytest.mark.parametrize("setting", ["gradient_clip_val=0.1", "precision=bf16-mixed"])
def test_trainer_settings_work(train, setting):
    assert math.isfinite(train(*SMALL, f"trainer.{setting}")["elbo"])


@pytest.mark.slow
def test_compiled_objective_gives_the_same_numbers(train):
    with torch._inductor.config.patch(fallback_random=True):  # type: ignore[attr-defined]
        plain, compiled = (train(*SMALL, f"compile={on}", folder=f"{on}") for on in (False, True))
    assert compiled["elbo"] == pytest.approx(plain["elbo"], rel=1e-5)


@pytest.mark.slow
def test_data_that_are_not_images_train_without_figures(train, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    numbers = train(
        "data=arrays", f"data.path={tmp_path}/x.npz", "loss=gaussian", "data.batch_size=8"
    )
    assert (numbers["measure"], numbers["pixels"]) == ("density", "real")
    assert not list(numbers["folder"].glob("figures/*.png"))


def test_bce_on_standardised_pixels_is_refused_before_the_first_step(train, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    with pytest.raises(ValueError, match=r"takes pixels in \[0, 1\].*set loss=mse"):
        train("data=arrays", f"data.path={tmp_path}/x.npz")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_implied_scale_includes_beta(train):
    numbers = train(*SMALL, "loss=mse", "loss.scale=0.5", "kl.beta=4")
    assert (numbers["decoder_scale"], numbers["implied_scale"]) == (0.5, 1.0)
    json.dumps(numbers, default=str)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["objective=ms_ssim", "kl=capacity"])
def test_implied_scale_is_absent_without_a_weighted_kl(train, words):
    assert "implied_scale" not in train(*SMALL, "loss=mse", words)


def test_images_of_an_epoch_depend_on_seed_and_epoch_only(train, monkeypatch):
    recorded, training_step = [], VAEModule.training_step

    def record_labels(self, batch, batch_idx):
        recorded.append(batch[1])
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(VAEModule, "training_step", record_labels)
    run = RunParts.open(train(*SMALL, "trainer.max_epochs=3", "seed=5")["folder"])
    loader = run.data.train_dataloader()
    for epoch in range(3):
        loader.set_epoch(epoch)
        expected = recorded[2 * epoch : 2 * epoch + 2]
        for (_, labels), trained in zip(loader, expected, strict=False):
            assert torch.equal(labels, trained)


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        "trainer.max_steps=1",
        "trainer.limit_val_batches=0",
        "trainer.check_val_every_n_epoch=30",
        "~callbacks.checkpoint",
        "trainer.log_every_n_steps=0",
        "trainer.accumulate_grad_batches=2",
        "data.batch_size=100000",
    ],
)
def test_run_without_validation_or_logs_ends_with_its_numbers(train, setting):
    assert math.isfinite(train(*SMALL, setting)["elbo"])


@pytest.mark.slow
def test_gradient_clipping_works_with_autocast(train):
    words = ["trainer.gradient_clip_val=0.1", "trainer.precision=bf16-mixed"]
    assert math.isfinite(train(*SMALL, *words)["elbo"])


@pytest.mark.slow
def test_early_stopping_ends_a_run_without_max_epochs(train):
    words = ["callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=1"]
    numbers = train(*SMALL, *words, "optimizer.lr=1e-30", "trainer.max_epochs=-1")
    assert numbers["epochs"] == 2


def test_learning_rate_follows_the_schedule(train):
    words = ["schedule=cosine", "logger=csv", "trainer.limit_train_batches=4"]
    folder = train(*SMALL, *words, "optimizer.lr=0.5")["folder"]
    with (folder / "metrics.csv").open() as file:
        learning_rates = [float(row["train/lr"]) for row in csv.DictReader(file) if row["train/lr"]]
    expected = [0.5 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert learning_rates == pytest.approx(expected)


def test_noise_differs_between_processes_and_between_validation_batches(config, monkeypatch):
    module = RunParts.build(config(*SMALL)).module
    seeds = []
    for rank in (0, 1):
        loop = SimpleNamespace(_load_combined_loader_states=lambda: None)
        ResumeState().on_train_start(SimpleNamespace(global_rank=rank, fit_loop=loop), module)
        seeds.append(torch.initial_seed())
    assert seeds[0] != seeds[1]
    monkeypatch.setattr(VAEModule, "global_rank", 0)
    monkeypatch.setattr(VAEModule, "global_step", 0)
    loader = OrderedBatches(Split(torch.zeros(9, 1), torch.zeros(9)), size=1)
    loop = SimpleNamespace(_combined_loader=SimpleNamespace(flattened=[loader]))
    state = SimpleNamespace(fn="fit")
    trainer = SimpleNamespace(world_size=1, state=state, _evaluation_loop=loop)
    monkeypatch.setattr(VAEModule, "trainer", trainer)
    x, losses = torch.rand(5, 1, 28, 28).round(), []
    for number in (0, 1, 0):
        module.validation_step((x, torch.zeros(5, 0)), number)
        losses.append(module.means[0].compute()["loss"].item())
        module.means[0].reset()
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.slow
def test_reconstruction_figure_starts_with_the_validation_images(train):
    numbers = train("model.hidden=[16]", "latent_dim=4")
    data = RunParts.open(numbers["folder"]).data
    with Image.open(numbers["folder"] / "figures" / "reconstructions.png") as image:
        first = np.asarray(image.convert("L"))[4 : 4 + 56 : 2, 4 : 4 + 56 : 2]
    assert np.array_equal(first, data.splits["val"].images[0, 0].numpy())


def test_nan_in_the_numbers_ends_the_run_with_an_error(train, tmp_path):
    with pytest.raises(ValueError, match=r"NaN or infinite: lower optimizer\.lr"):
        train(*SMALL, "optimizer.lr=1e30", "trainer.max_epochs=2", "on_nan=ignore")
    text = (tmp_path / "run" / "metrics.json").read_text()
    assert "NaN" not in text  # which is not valid JSON
    assert json.loads(text)["elbo"] is None


@pytest.mark.slow
def test_run_with_relative_paths_opens_from_another_folder(command, tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    words = ["data=arrays", "data.path=x.npz", "loss=gaussian", "logger=none", "trainer=smoke"]
    assert command("train.py", *words, "samples=1", "hydra.run.dir=run")[0] == 0
    monkeypatch.chdir("/")
    assert len(RunParts.open(tmp_path / "run").data.splits["test"].images) == 20


@pytest.mark.slow
def test_evaluation_does_not_change_the_metrics_of_the_run(command, train):
    folder = train(*SMALL)["folder"]
    before = (folder / "metrics.json").read_bytes()
    status, output = command("scripts/evaluate.py", str(folder), "--split", "train", "--samples=3")
    assert status == 0
    path = folder / "evaluation" / "train-best-3"
    assert str(path) in output
    numbers = json.loads((path / "numbers.json").read_text())
    assert (numbers["images"], numbers["samples"], numbers["checkpoint"]) == (4000, 3, "best")
    assert len(numbers["bits_sha256"]) == 64
    assert (folder / "metrics.json").read_bytes() == before
