"""Note 5: sample new images from N(0, I), and show the layers of the decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaelab.evaluation import samples
from vaelab.evaluation.base import EvaluationConfig
from vaelab.figures.draw.style import BLUE, WIDTH, hide_frame, new_figure, plot_style
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import decode_prior_samples, prepare_images, read_metrics
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.samplers.prior import PriorSampler

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, ROWS = 14, 4
TEMPERATURES = (0.5, 0.7, 1.0, 1.5)
LAYERS_SAMPLE = 7  # index of the sample whose decoder activations are drawn
MAX_CHANNELS = 6  # number of channels of each layer that are drawn


def make_note(config: NoteConfig) -> NoteResult:
    """Train a convolutional VAE and compare its samples at several temperatures."""
    run = config.train_and_open("conv", "model=conv", "trainer.max_epochs=30")
    metrics = read_metrics(config.runs / "conv")
    count = config.select(500, 20)
    sample_metrics = {
        temperature: samples.evaluate(
            run, EvaluationConfig(images=count, sampler=PriorSampler(temperature))
        )
        for temperature in TEMPERATURES
    }
    rows = [
        _make_row(run, temperature, temperature_metrics, count)
        for temperature, temperature_metrics in sample_metrics.items()
    ]
    numbers = {
        "NLL of test digits (nats)": metrics["nll"],
        "mean pixel of test digits": prepare_images(run).mean().item(),
        "FID of training digits": sample_metrics[1.0].get("fid_floor"),
    }
    figures = {"samples": draw_samples(run), "layers": draw_layers(run)}
    return NoteResult(figures, rows, numbers)


def _make_row(
    run: RunParts, temperature: float, sample_metrics: Mapping[str, Any], count: int
) -> dict[str, Any]:
    images = decode_with_temperature(run, temperature, count)
    return {
        "temperature": temperature,
        "mean pixel": images.mean().item(),
        "sd of a pixel across samples": images.std(0).mean().item(),
        "FID": sample_metrics["fid"],
        "precision": sample_metrics["precision"],
        "recall": sample_metrics["recall"],
    }


@torch.no_grad()
def decode_with_temperature(run: RunParts, temperature: float, count: int) -> Tensor:
    """Return the means of p(x|z) at temperature * z, with z ~ N(0, I), as (count, 1, H, W)."""
    with seeded_noise(Stream.SAMPLES):
        z = torch.randn(count, run.vae.latent_dim)
    return run.vae.decode(temperature * z).mean


@plot_style()
def draw_samples(run: RunParts) -> Figure:
    """Draw the first samples of the model at temperature 1."""
    images = decode_prior_samples(run, ROWS * COLUMNS).unflatten(0, (ROWS, COLUMNS))
    figure = new_figure(WIDTH, WIDTH * compute_tile_aspect(images))
    plot_tiles(figure.add_subplot(), images, [""] * ROWS, [""] * COLUMNS)
    return figure


@torch.no_grad()
def compute_activations(run: RunParts, z: Tensor) -> list[Tensor]:
    """Return the outputs of the decoder's head and of each transposed convolution.

    Arguments:
        z: Latents (B, latent_dim).

    Returns:
        Feature maps (B, C, H, W) from the smallest to the logits of the image.
    """
    decoder: Any = run.vae.decoder
    out = decoder.head(z).unflatten(-1, decoder.inside)
    activations = [out]
    for stage in decoder.stages:
        out = stage(out)
        if isinstance(stage, torch.nn.ConvTranspose2d):
            activations.append(out)
    return activations


@plot_style()
def draw_layers(run: RunParts) -> Figure:
    """Draw z, some channels of each decoder layer, and the decoded image, for one sample."""
    with seeded_noise(Stream.SAMPLES):
        z = torch.randn(COLUMNS, run.vae.latent_dim)[LAYERS_SAMPLE : LAYERS_SAMPLE + 1]
    *activations, logits = compute_activations(run, z)
    activations.append(logits.sigmoid())
    figure = new_figure(WIDTH, 2.4)
    panels = figure.subplots(1, len(activations) + 1, width_ratios=(0.7, *[1.2] * len(activations)))
    panels[0].bar(range(run.vae.latent_dim), z[0].numpy(), color=BLUE)
    panels[0].set(title=f"z, {run.vae.latent_dim} numbers", xticks=[])
    for axes, activation in zip(panels[1:], activations, strict=True):
        _draw_channels(axes, activation[0])
    return figure


def _draw_channels(axes: Axes, activation: Tensor) -> None:
    """Draw the first channels of a feature map (C, H, W), each scaled to [0, 1]."""
    count, height, width = activation.shape
    channels = activation[:MAX_CHANNELS]
    low, high = channels.amin((1, 2), keepdim=True), channels.amax((1, 2), keepdim=True)
    channels = (channels - low) / (high - low)
    columns = 1 if count == 1 else 2
    images = channels.unflatten(0, (len(channels) // columns, columns)).unsqueeze(2)
    plot_tiles(axes, images, [""] * len(images), [""] * columns, gap=1)
    axes.set_title(f"{count} x {height} x {width}")
    hide_frame(axes)
