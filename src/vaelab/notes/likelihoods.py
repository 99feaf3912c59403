"""Note 4: the same net under each likelihood, and what a learned scale changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from vaelab.figures.draw.style import WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import plot_tiles, tile_aspect
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import (
    all_images,
    numbers,
    reconstructed,
    sampled,
    sharpness,
    some_of_each,
)
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = ("data.binarize=none", "model.hidden=[400,400]", "trainer.max_epochs=30")
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


def make_note(asked: NoteConfig) -> NoteResult:
    names = {name: name.replace(", ", "-").replace(" ", "-") for name in LIKELIHOODS}
    runs = {name: asked.run(names[name], *WORDS, *words) for name, words in LIKELIHOODS.items()}
    rows = [
        _row(name, run, numbers(asked.runs / names[name]), asked.few(500, 20))
        for name, run in runs.items()
    ]
    single = {"sharpness of test digits": sharpness(all_images(runs["bce"]))}
    return NoteResult({"side-by-side": draw_note(runs)}, rows, single)


def _row(name: str, run: Run, found: dict[str, Any], count: int) -> dict[str, Any]:
    return {
        "loss": name,
        "KL (nats)": found["kl"],
        "active units": found["active_units"],
        "RMSE of a pixel": found["rmse"],
        "scale": found.get("decoder_scale", "-"),
        "sharpness, reconstructions": sharpness(reconstructed(run, all_images(run))),
        "samples": sharpness(sampled(run, count)),
    }


@plot_style()
def draw_note(runs: dict[str, Run]) -> Figure:
    """For each likelihood: reconstructions, the means of new pictures, and draws of these."""
    x = some_of_each(next(iter(runs.values())))
    rows = [torch.cat([x, torch.ones(12, *x.shape[1:])])]
    for run in runs.values():
        new = sampled(run, 6)
        rows.append(torch.cat([reconstructed(run, x), new, _drawn(run, 6)]))
    images = torch.stack(rows)
    drawn = new_figure(WIDTH, 0.82 * WIDTH * tile_aspect(images) + 0.3)
    axes = drawn.add_subplot()
    place = plot_tiles(axes, images, ["test digits", *runs], [""] * images.shape[1])
    marks = {"reconstructions": 4.5, "new: mean of p(x|z)": 12.5, "new: a draw of p(x|z)": 18.5}
    axes.set_xticks([place.centre(0, column)[0] for column in marks.values()], list(marks))
    axes.xaxis.tick_top()
    return drawn


@torch.no_grad()
def _drawn(run: Run, count: int) -> torch.Tensor:
    """Draws of p(x|z) at the codes of `sampled`."""
    with seeded_noise(Stream.SAMPLES):
        z = run.vae.latents().sample(torch.Size([count]))
        return run.vae.decode(z).sample()
