import csv
import json
import math
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image

from vaelab.module import VAEModule
from vaelab.run import Run

SMALL = ("model.hidden=[16]", "latent_dim=4")


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


def weights(numbers, name="last"):
    path = numbers["folder"] / "checkpoints" / f"{name}.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def test_the_same_seed_gives_the_same_run(train):
    first, again, other = (
        train(*SMALL, f"seed={seed}", folder=folder)
        for seed, folder in ((1, "first"), (1, "again"), (2, "other"))
    )
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))
    for name in ("elbo", "nll", "kl", "val_elbo"):
        assert first[name] == again[name] != other[name]


def test_a_run_folder_holds_its_config_checkpoints_numbers_and_pictures(train):
    numbers = train(*SMALL, "logger=csv")
    folder = numbers["folder"]
    for name in (".hydra/config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (folder / name).is_file()
    for name in ("reconstructions", "samples"):
        with Image.open(folder / "figures" / f"{name}.png") as picture:
            assert picture.size[0] > 500
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"train/loss", "train/kl_weight", "val/elbo", "test/elbo"} <= rows[0].keys()
    assert not (folder / "hparams.yaml").exists()


def test_metrics_json_says_what_was_measured_and_how(train):
    numbers = train(*SMALL, "seed=3")
    assert numbers["choices"]["model"] == "mlp"
    assert numbers["versions"]["torch"] == version("torch")
    assert (numbers["split"], numbers["images"], numbers["seed"]) == ("test", 500, 3)
    assert (numbers["measure"], numbers["pixels"], numbers["samples"]) == (
        "probability",
        "binary",
        2,
    )
    assert numbers["steps"] == numbers["step"] == 2
    assert numbers["wall_s"] > 0
    assert len(numbers["bits_sha256"]) == 64
    assert numbers["best"] == numbers["val_elbo"]


def test_a_finished_run_opens_with_the_weights_it_was_evaluated_with(train):
    from vaelab.evaluate import evaluate

    numbers = train(*SMALL)
    run = Run.open(numbers["folder"])
    assert run.step == 2
    again = evaluate(run.vae, run.data, "test", samples=2)
    assert again["elbo"] == pytest.approx(numbers["elbo"], abs=1e-9)
    assert again["nll"] == pytest.approx(numbers["nll"], abs=1e-9)


def test_a_checkpoint_holds_nothing_but_plain_weights_and_states(train):
    checkpoint = torch.load(
        train(*SMALL)["folder"] / "checkpoints" / "last.ckpt", weights_only=True
    )
    assert "hyper_parameters" not in checkpoint
    assert not any("prior" in name for name in checkpoint["state_dict"])


def test_training_moves_the_elbo_up(train):
    more = (
        "trainer.max_epochs=8",
        "trainer.limit_train_batches=null",
        "trainer.limit_val_batches=null",
    )
    numbers = train("model.hidden=[64]", *more)
    assert numbers["elbo"] > -175  # one Bernoulli per pixel is at about -206


def test_the_best_weights_are_evaluated_and_not_the_last(train):
    numbers = train(
        *SMALL, "optimizer.lr=0.5", "trainer.max_epochs=4", "trainer.limit_train_batches=8"
    )
    best = torch.load(numbers["folder"] / "checkpoints" / "best.ckpt", weights_only=True)
    assert numbers["step"] == best["global_step"]


def test_weight_averaging_is_what_is_validated_kept_and_evaluated(train):
    numbers = train(*SMALL, "callbacks=[default,ema]", "callbacks.ema.decay=1.0")
    averaged, plain = weights(numbers), weights(train(*SMALL, folder="plain"))
    assert not same(averaged, plain)


def test_early_stopping_stops(train):
    numbers = train(
        *SMALL,
        "callbacks=[default,early_stopping]",
        "callbacks.early_stopping.patience=1",
        "optimizer.lr=0",
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


def test_without_validation_the_last_weights_are_the_best(train, idx):
    numbers = train("data=mnist", f"data.root={idx.root}", "data.validation=0", "data.batch_size=8")
    assert math.isnan(numbers["best"])
    assert "val_elbo" not in numbers
    assert same(weights(numbers, "best"), weights(numbers, "last"))


@pytest.mark.parametrize("setting", ["gradient_clip_val=0.1", "precision=bf16-mixed"])
def test_settings_of_the_trainer_work(train, setting):
    assert math.isfinite(train(*SMALL, f"trainer.{setting}")["elbo"])


@pytest.mark.slow
def test_a_compiled_objective_gives_the_same_numbers(train):
    plain, compiled = (train(*SMALL, f"compile={on}", folder=f"{on}") for on in (False, True))
    assert compiled["elbo"] == pytest.approx(plain["elbo"], rel=1e-5)


def test_a_table_trains_without_pictures(train, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    numbers = train(
        "data=arrays", f"data.path={tmp_path}/x.npz", "loss=gaussian", "data.batch_size=8"
    )
    assert (numbers["measure"], numbers["pixels"]) == ("density", "real")
    assert not (numbers["folder"] / "figures").exists()


def test_bce_on_standardised_pixels_is_refused_before_the_first_step(train, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    with pytest.raises(ValueError, match=r"takes pixels in \[0, 1\].*set loss=mse"):
        train("data=arrays", f"data.path={tmp_path}/x.npz")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_implied_scale_counts_beta_in(train):
    numbers = train(*SMALL, "loss=mse", "loss.scale=0.5", "kl.beta=4")
    assert (numbers["decoder_scale"], numbers["implied_scale"]) == (0.5, 1.0)
    json.dumps(numbers, default=str)


def test_the_images_of_an_epoch_follow_from_seed_and_epoch_alone(train, monkeypatch):
    seen, step = [], VAEModule.training_step

    def remember(self, batch, batch_idx):
        seen.append(batch[1])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(VAEModule, "training_step", remember)
    run = Run.open(train(*SMALL, "trainer.max_epochs=3", "seed=5")["folder"])
    loader = run.data.train_dataloader()
    for epoch in range(3):
        loader.set_epoch(epoch)
        for (_, labels), found in zip(loader, seen[2 * epoch : 2 * epoch + 2], strict=False):
            assert torch.equal(labels, found)
