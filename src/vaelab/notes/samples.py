"""Note 5: new pictures from N(0, I), and how transposed convolutions grow one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaelab.evaluation import samples
from vaelab.evaluation.base import EvaluationConfig as Evaluated
from vaelab.figures.draw.style import BLUE, WIDTH, hide_frame, new_figure, plot_style
from vaelab.figures.draw.tiles import plot_tiles, tile_aspect
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import all_images, numbers, sampled
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.samplers.prior import PriorSampler

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, ROWS = 14, 4
TEMPERATURES = (0.5, 0.7, 1.0, 1.5)
DRAWN = 7  # the draw whose way through the decoder is shown
CHANNELS = 6  # of a layer that are drawn


def make_note(asked: NoteConfig) -> NoteResult:
    run = asked.run("conv", "model=conv", "trainer.max_epochs=30")
    found = numbers(asked.runs / "conv")
    count = asked.few(500, 20)
    looked = {
        temperature: samples.evaluate(
            run, Evaluated(images=count, sampler=PriorSampler(temperature))
        )
        for temperature in TEMPERATURES
    }
    rows = [_row(run, temperature, each, count) for temperature, each in looked.items()]
    single = {
        "NLL of test digits (nats)": found["nll"],
        "mean pixel of test digits": all_images(run).mean().item(),
        "FID of training digits": looked[1.0]["fid_floor"],
    }
    return NoteResult({"samples": draw_samples(run), "layers": draw_layers(run)}, rows, single)


def _row(run: Run, temperature: float, looked: dict[str, Any], count: int) -> dict[str, Any]:
    new = decoded(run, temperature, count)
    return {
        "temperature": temperature,
        "mean pixel": new.mean().item(),
        "sd of a pixel from sample to sample": new.std(0).mean().item(),
        "FID": looked["fid"],
        "precision": looked["precision"],
        "recall": looked["recall"],
    }


@torch.no_grad()
def decoded(run: Run, temperature: float, count: int) -> Tensor:
    """The means of p(x|z) at temperature * z, z from N(0, I)."""
    with seeded_noise(Stream.SAMPLES):
        z = torch.randn(count, run.vae.latent_dim)
    return run.vae.decode(temperature * z).mean


@plot_style()
def draw_samples(run: Run) -> Figure:
    """The first draws at temperature 1, and one draw at other temperatures."""
    images = sampled(run, ROWS * COLUMNS).unflatten(0, (ROWS, COLUMNS))
    drawn = new_figure(WIDTH, WIDTH * tile_aspect(images))
    plot_tiles(drawn.add_subplot(), images, [""] * ROWS, [""] * COLUMNS)
    return drawn


@torch.no_grad()
def layers(run: Run, z: Tensor) -> list[Tensor]:
    """What the decoder's head and each transposed convolution make of a z (1, latent_dim)."""
    decoder: Any = run.vae.decoder
    out = decoder.head(z).unflatten(-1, decoder.inside)
    found = [out]
    for stage in decoder.stages:
        out = stage(out)
        if isinstance(stage, torch.nn.ConvTranspose2d):
            found.append(out)
    return found


@plot_style()
def draw_layers(run: Run) -> Figure:
    """Some channels of each layer of the decoder, for one z, and the picture they end in."""
    with seeded_noise(Stream.SAMPLES):
        z = torch.randn(COLUMNS, run.vae.latent_dim)[DRAWN : DRAWN + 1]
    *found, logits = layers(run, z)
    found.append(logits.sigmoid())
    drawn = new_figure(WIDTH, 2.4)
    panels = drawn.subplots(1, len(found) + 1, width_ratios=(0.7, *[1.2] * len(found)))
    panels[0].bar(range(run.vae.latent_dim), z[0].numpy(), color=BLUE)
    panels[0].set(title=f"z, {run.vae.latent_dim} numbers", xticks=[])
    for axes, out in zip(panels[1:], found, strict=True):
        _draw_channels(axes, out[0])
    return drawn


def _draw_channels(axes: Axes, out: Tensor) -> None:
    count, height, width = out.shape
    some = out[:CHANNELS]
    low, high = some.amin((1, 2), keepdim=True), some.amax((1, 2), keepdim=True)
    some = (some - low) / (high - low)
    side = 1 if count == 1 else 2
    images = some.unflatten(0, (len(some) // side, side)).unsqueeze(2)
    plot_tiles(axes, images, [""] * len(images), [""] * side, gap=1)
    axes.set_title(f"{count} x {height} x {width}")
    hide_frame(axes)
