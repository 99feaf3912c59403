"""Note 1: a plain autoencoder beside the VAE, of the same nets."""

from __future__ import annotations

from typing import Any

from vaelab.evaluation import samples
from vaelab.evaluation.base import EvaluationConfig as Evaluated
from vaelab.inference.batches import collect_latents
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import all_images, beside, reconstructed
from vaelab.runs.run import Run

OBJECTIVES = {"autoencoder": "objective=autoencoder", "VAE": "objective=elbo"}
WORDS = ("model=conv", "data.binarize=none", "trainer.max_epochs=20")


def make_note(asked: NoteConfig) -> NoteResult:
    runs = {name: asked.run(name, *WORDS, word) for name, word in OBJECTIVES.items()}
    looked = {
        name: samples.evaluate(run, Evaluated(images=asked.few(500, 20)))
        for name, run in runs.items()
    }
    rows = [_row(name, run, looked[name]) for name, run in runs.items()]
    single = {"FID of training digits": looked["VAE"]["fid_floor"]}
    return NoteResult({"samples": beside(runs)}, rows, single)


def _row(name: str, run: Run, looked: dict[str, Any]) -> dict[str, Any]:
    x, z = all_images(run), collect_latents(run.vae, run.data, "train")["z"]
    return {
        "model": name,
        "RMSE of test digits": (reconstructed(run, x) - x).square().mean().sqrt().item(),
        "mean of the codes, the largest": z.mean(0).abs().max().item(),
        "sd of the codes, from": z.std(0).min().item(),
        "to": z.std(0).max().item(),
        "FID of reconstructions": looked["fid_reconstructions"],
        "FID of samples": looked["fid"],
    }
