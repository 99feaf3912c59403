"""Note 11: replace the KL or the pixel error with a discriminator, on the networks of a VAE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelab.evaluation import samples
from vaelab.evaluation.base import EvaluationConfig
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import (
    compute_sharpness,
    decode_prior_samples,
    draw_model_comparison,
    prepare_images,
    read_metrics,
    reconstruct,
)
from vaelab.runs.run import RunParts

OVERRIDES = (
    "model=conv",
    "data.binarize=none",
    "latent_dim=10",
    "data.batch_size=64",
    "optimizer.lr=2e-3",
)
OBJECTIVES = {
    "VAE": ("objective=elbo",),
    "AAE": ("objective=aae", "posterior=deterministic"),
    "VAE-GAN": ("objective=vae_gan",),
}


def make_note(config: NoteConfig) -> NoteResult:
    """Train a VAE, an adversarial autoencoder and a VAE-GAN, and compare their images."""
    epochs = f"trainer.max_epochs={config.select(15, 1)}"
    runs = {
        name: config.train_and_open(name, *OVERRIDES, epochs, *overrides)
        for name, overrides in OBJECTIVES.items()
    }
    count = config.select(500, 20)
    sample_metrics = {
        name: samples.evaluate(run, EvaluationConfig(images=count)) for name, run in runs.items()
    }
    rows = [
        _make_row(name, run, read_metrics(config.runs / name), sample_metrics[name], count)
        for name, run in runs.items()
    ]
    numbers = {
        "sharpness of test digits": compute_sharpness(prepare_images(runs["VAE"])),
        "FID of training digits": sample_metrics["VAE"].get("fid_floor"),
    }
    return NoteResult({"side-by-side": draw_model_comparison(runs)}, rows, numbers)


def _make_row(
    name: str, run: RunParts, metrics: dict[str, Any], sample_metrics: Mapping[str, Any], count: int
) -> dict[str, Any]:
    return {
        "objective": name,
        "RMSE of test digits": metrics["rmse"],
        "sharpness of reconstructions": compute_sharpness(reconstruct(run, prepare_images(run))),
        "sharpness of samples": compute_sharpness(decode_prior_samples(run, count)),
        "FID of reconstructions": sample_metrics["fid_reconstructions"],
        "FID of samples": sample_metrics["fid"],
        "precision": sample_metrics["precision"],
        "recall": sample_metrics["recall"],
    }
