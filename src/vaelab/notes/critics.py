"""Note 11: critics in place of the KL and beside the pixels, on the VAE's own nets."""

from __future__ import annotations

from typing import Any

from vaelab.evaluation import samples
from vaelab.evaluation.base import EvaluationConfig as Evaluated
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import all_images, beside, numbers, reconstructed, sampled, sharpness
from vaelab.runs.run import Run

WORDS = (
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


def make_note(asked: NoteConfig) -> NoteResult:
    epochs = f"trainer.max_epochs={asked.few(15, 1)}"
    runs = {name: asked.run(name, *WORDS, epochs, *words) for name, words in OBJECTIVES.items()}
    looked = {
        name: samples.evaluate(run, Evaluated(images=asked.few(500, 20)))
        for name, run in runs.items()
    }
    rows = [_row(name, run, looked[name], asked) for name, run in runs.items()]
    single = {
        "sharpness of test digits": sharpness(all_images(runs["VAE"])),
        "FID of training digits": looked["VAE"]["fid_floor"],
    }
    return NoteResult({"side-by-side": beside(runs)}, rows, single)


def _row(name: str, run: Run, looked: dict[str, Any], asked: NoteConfig) -> dict[str, Any]:
    return {
        "objective": name,
        "RMSE of test digits": numbers(asked.runs / name)["rmse"],
        "sharpness of reconstructions": sharpness(reconstructed(run, all_images(run))),
        "of samples": sharpness(sampled(run, asked.few(500, 20))),
        "FID of reconstructions": looked["fid_reconstructions"],
        "FID of samples": looked["fid"],
        "precision": looked["precision"],
        "recall": looked["recall"],
    }
