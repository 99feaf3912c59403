"""Note 1: compare a plain autoencoder with a VAE of the same networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelab.evaluation import samples
from vaelab.evaluation.base import EvaluationConfig
from vaelab.inference.batches import collect_latents
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import draw_model_comparison, prepare_images, reconstruct
from vaelab.runs.run import RunParts

OBJECTIVES = {"autoencoder": "objective=autoencoder", "VAE": "objective=elbo"}
OVERRIDES = ("model=conv", "data.binarize=none", "trainer.max_epochs=20")


def make_note(config: NoteConfig) -> NoteResult:
    """Train both models and compare their latents, reconstructions and samples."""
    runs = {
        name: config.train_and_open(name, *OVERRIDES, objective)
        for name, objective in OBJECTIVES.items()
    }
    sample_metrics = {
        name: samples.evaluate(run, EvaluationConfig(images=config.select(500, 20)))
        for name, run in runs.items()
    }
    rows = [_make_row(name, run, sample_metrics[name]) for name, run in runs.items()]
    numbers = {"FID of training digits": sample_metrics["VAE"].get("fid_floor")}
    return NoteResult({"samples": draw_model_comparison(runs)}, rows, numbers)


def _make_row(name: str, run: RunParts, sample_metrics: Mapping[str, Any]) -> dict[str, Any]:
    x, z = prepare_images(run), collect_latents(run.vae, run.data, "train")["z"]
    return {
        "model": name,
        "RMSE of test digits": (reconstruct(run, x) - x).square().mean().sqrt().item(),
        "largest absolute mean of a latent": z.mean(0).abs().max().item(),
        "smallest sd of a latent": z.std(0).min().item(),
        "largest sd of a latent": z.std(0).max().item(),
        "FID of reconstructions": sample_metrics["fid_reconstructions"],
        "FID of samples": sample_metrics["fid"],
    }
