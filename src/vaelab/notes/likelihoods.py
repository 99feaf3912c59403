"""Note 4: compare eight likelihoods on the same network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from vaelab.figures.draw.style import WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import (
    compute_sharpness,
    decode_prior_samples,
    first_images_of_each_class,
    prepare_images,
    read_metrics,
    reconstruct,
)
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVERRIDES = ("data.binarize=none", "model.hidden=[400,400]", "trainer.max_epochs=30")
LIKELIHOODS = {
    "bce": ("loss=bce",),
    "continuous_bernoulli": ("loss=continuous_bernoulli",),
    "mse, scale 1": ("loss=mse",),
    "gaussian, learned": ("loss=gaussian",),
    "gaussian, by pixel": ("loss=gaussian", "loss.scale=pixel"),
    "laplace, learned": ("loss=laplace",),
    "student_t, learned": ("loss=student_t",),
    "discretized_logistic": ("loss=discretized_logistic",),
}


def make_note(config: NoteConfig) -> NoteResult:
    """Train the same network under each likelihood and compare KL, RMSE and sharpness."""
    folders = {name: name.replace(", ", "-").replace(" ", "-") for name in LIKELIHOODS}
    runs = {
        name: config.train_and_open(folders[name], *OVERRIDES, *overrides)
        for name, overrides in LIKELIHOODS.items()
    }
    rows = [
        _make_row(name, run, read_metrics(config.runs / folders[name]), config.select(500, 20))
        for name, run in runs.items()
    ]
    numbers = {"sharpness of test digits": compute_sharpness(prepare_images(runs["bce"]))}
    return NoteResult({"side-by-side": draw_comparison(runs)}, rows, numbers)


def _make_row(name: str, run: RunParts, metrics: dict[str, Any], count: int) -> dict[str, Any]:
    """Summarise a run; the sharpness of samples is that of `count` decoded prior samples."""
    return {
        "loss": name,
        "KL (nats)": metrics["kl"],
        "active units": metrics["active_units"],
        "RMSE of a pixel": metrics["rmse"],
        "scale": metrics.get("decoder_scale", "-"),
        "sharpness of reconstructions": compute_sharpness(reconstruct(run, prepare_images(run))),
        "sharpness of samples": compute_sharpness(decode_prior_samples(run, count)),
    }


@plot_style()
def draw_comparison(runs: dict[str, RunParts]) -> Figure:
    """Draw for each likelihood reconstructions, the means of new images, and samples of p(x|z)."""
    x = first_images_of_each_class(next(iter(runs.values())))
    rows = [torch.cat([x, torch.ones(12, *x.shape[1:])])]
    for run in runs.values():
        means = decode_prior_samples(run, 6)
        rows.append(torch.cat([reconstruct(run, x), means, _sample_images(run, 6)]))
    images = torch.stack(rows)
    figure = new_figure(WIDTH, 0.82 * WIDTH * compute_tile_aspect(images) + 0.3)
    axes = figure.add_subplot()
    tiles = plot_tiles(axes, images, ["test digits", *runs], [""] * images.shape[1])
    titles = {"reconstructions": 4.5, "new: mean of p(x|z)": 12.5, "new: sample of p(x|z)": 18.5}
    axes.set_xticks([tiles.get_centre(0, column)[0] for column in titles.values()], list(titles))
    axes.xaxis.tick_top()
    return figure


@torch.no_grad()
def _sample_images(run: RunParts, count: int) -> torch.Tensor:
    """Sample p(x|z) at the same z as `decode_prior_samples`, (count, 1, H, W)."""
    with seeded_noise(Stream.SAMPLES):
        z = run.vae.latents().sample(torch.Size([count]))
        return run.vae.decode(z).sample()
