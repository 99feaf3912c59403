"""Render images, maps and numbers as HTML, without gradio."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from vaelab.explorer.explorer import ELBO_SAMPLES, NLL_SAMPLES, Explorer
from vaelab.explorer.plane import LatentPlane
from vaelab.runtime.metric_names import METRICS

# Nine colours for colour-blind readers (the scheme "muted" of Paul Tol, 2021), and a dark gray.
COLOURS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933")
COLOURS += ("#DDCC77", "#CC6677", "#882255", "#AA4499", "#555555")
HEADLINE_METRICS = ("elbo", "nll", "reconstruction", "kl", "active_units", "bits_per_dim", "rmse")
MAP_SIZE = 1000  # edge of the map in SVG units
MAP_TILES = 16  # images along each edge of the map of decoded images
PIXEL_NAMES = {
    "binary": "binary pixels",
    "levels": "256 levels",
    "dequantized": "dequantized levels",
}
NOT_COMPARABLE = (
    "The runs have different likelihoods or kinds of pixels: compare their images, not their "
    "values in nats."
)


def encode_png(x: Tensor) -> bytes:
    """Encode an image (C, H, W) in [0, 1] as a PNG file."""
    file = io.BytesIO()
    to_pil_image(x).save(file, "png")
    return file.getvalue()


def image_url(x: Tensor) -> str:
    """Return a data URL that contains an image (C, H, W)."""
    return f"data:image/png;base64,{base64.b64encode(encode_png(x)).decode()}"


def figure_html(x: Tensor | None, caption: str) -> str:
    """Render an image with a caption, or a placeholder for None."""
    text = escape(caption)
    image = (
        f"<img src='{image_url(x)}' alt='{text}'>" if x is not None else "<div class=none></div>"
    )
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def figures_html(*pairs: tuple[Tensor | None, str]) -> str:
    """Render images with captions side by side."""
    return f"<div class='figures'>{''.join(figure_html(*pair) for pair in pairs)}</div>"


def message_html(text: str) -> str:
    """Render a warning; nothing for an empty text."""
    return f"<p class='message' role='alert'>⚠ {escape(text)}</p>" if text else ""


def heading_html(explorer: Explorer) -> str:
    """Render the name, the parts and the metrics of a run."""
    metrics, title = explorer.metrics, escape(explorer.name)
    cards = [_metric_card(key, metrics) for key in HEADLINE_METRICS if metrics.get(key) is not None]
    return (
        f"<div class='heading'><h2>{title}</h2><p>{escape(describe_run(explorer))}</p>"
        f"<div class='cards'>{''.join(cards)}</div></div>"
    )


def describe_run(explorer: Explorer) -> str:
    """Return one line with the model, the data, the selected parts and the optimizer steps."""
    choices, data = explorer.choices, explorer.run.data
    shape = "x".join(map(str, data.shape[1:])) + (" grayscale" if data.shape[0] == 1 else " RGB")
    parts = [
        f"{choices.get('model', type(explorer.vae).__name__)} with {explorer.vae.latent_dim} "
        f"latents on {choices.get('data', type(data).__name__)}, {shape}, {_pixel_name(explorer)}"
    ]
    titles = {"posterior": "q(z|x)", "prior": "p(z)", "loss": "p(x|z)", "objective": "objective"}
    parts += [f"{title} {choices[group]}" for group, title in titles.items() if group in choices]
    if choices.get("kl", "constant") != "constant":
        parts.append(f"KL weight {choices['kl']}")
    parts.append(f"{explorer.run.step} optimizer steps")
    if {"images", "split"} <= explorer.metrics.keys():
        parts.append("metrics on {images} {split} images".format(**explorer.metrics))
    return " · ".join(parts)


def _pixel_name(explorer: Explorer) -> str:
    return PIXEL_NAMES.get(explorer.run.data.pixels, "real numbers")


def _metric_card(key: str, metrics: Mapping[str, Any]) -> str:
    value = f"{metrics[key]:#.4g}"
    if key == "active_units":
        value = str(metrics[key])
        value += (
            f" of {len(metrics['kl_per_dimension'])}" if metrics.get("kl_per_dimension") else ""
        )
    if key == "nll" and metrics.get("nll_se") is not None:
        value += f" ± {metrics['nll_se']:.2g}"
    return f"<div class='card'><b>{value}</b><span>{escape(str(METRICS[key]))}</span></div>"


def terms_html(terms: Mapping[str, float]) -> str:
    """Render a table of the ELBO terms of one image, with a note on how they were estimated."""
    rows = [
        f"<tr><td>{_metric_title(key)}</td><td>{value:#.4g}</td></tr>"
        for key, value in terms.items()
    ]
    note = f"Means of {ELBO_SAMPLES} samples of q(z|x)"
    note += f"; the NLL is a bound with {NLL_SAMPLES} samples." if "nll" in terms else "."
    if "kl" not in terms:
        note = "KL, ELBO and NLL are undefined, because q(z|x) has no density."
    return f"<table class='terms'>{''.join(rows)}</table><p class='quiet'>{note}</p>"


class ComparisonColumn(NamedTuple):
    """One column of a comparison of runs.

    Attributes:
        explorer: The run.
        x: The image (C, H, W) as the model receives it.
        reconstruction: Its reconstruction (C, H, W) in [0, 1].
        terms: Its ELBO terms in nats.
    """

    explorer: Explorer
    x: Tensor
    reconstruction: Tensor
    terms: Mapping[str, float]


def comparison_html(columns: Sequence[ComparisonColumn]) -> str:
    """Render a table with one column for each run."""
    likelihoods = [_likelihood_name(column.explorer) for column in columns]
    names = [f"<b>{escape(column.explorer.name)}</b><br>" for column in columns]
    titles = [name + likelihood for name, likelihood in zip(names, likelihoods, strict=True)]
    inputs = [_image_html(column.explorer.to_display(column.x)) for column in columns]
    reconstructions = [_image_html(column.reconstruction) for column in columns]
    rows = [
        _table_row("", titles, "th"),
        _table_row("input", inputs),
        _table_row("reconstruction", reconstructions),
    ]
    for key in dict.fromkeys(key for column in columns for key in column.terms):
        values = [column.terms.get(key) for column in columns]
        cells = ["-" if value is None else f"{value:#.4g}" for value in values]
        rows.append(_table_row(_metric_title(key), cells))
    note = message_html(NOT_COMPARABLE) if len(set(likelihoods)) > 1 else ""
    return f"<table class='terms compared'>{''.join(rows)}</table>{note}"


def _likelihood_name(explorer: Explorer) -> str:
    likelihood = explorer.vae.likelihood
    measure = likelihood.measure(explorer.run.data.pixels)
    return f"{type(likelihood).__name__} of {_pixel_name(explorer)}: {measure}"


def _table_row(title: str, cells: Sequence[str], tag: str = "td") -> str:
    return f"<tr><td>{title}</td>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _image_html(x: Tensor) -> str:
    return f"<img src='{image_url(x)}' alt=''>"


def _metric_title(key: str) -> str:
    return escape(str(METRICS[key]))


def tiles_html(images: Iterable[tuple[int, Tensor, str]], selected: int | None = None) -> str:
    """Render images as buttons.

    Arguments:
        images: Index, image (C, H, W) and description of each.
        selected: Index of the selected image.
    """
    buttons = [
        f"<button type='button' data-index='{index}' title='{escape(text)}'"
        f" aria-pressed='{str(index == selected).lower()}'><img src='{image_url(x)}'"
        f" alt='{escape(text)}'></button>"
        for index, x, text in images
    ]
    return f"<div class='tiles'>{''.join(buttons)}</div>"


def strip_html(images: Iterable[Tensor]) -> str:
    """Render images in one row."""
    return f"<div class='strip'>{''.join(_image_html(x) for x in images)}</div>"


def scatter_map_svg(plane: LatentPlane, labels: Tensor | None) -> str:
    """Draw the latents of the plane as dots in the colours of their classes.

    The name of each class is at the median of its dots.

    Arguments:
        labels: Class of each latent, (N,), with at most ten classes; None for a single colour.
    """
    content = _svg_axes(plane)
    if labels is None:
        content += _svg_dots(plane, plane.points, COLOURS[0])
    else:
        classes = labels.unique().tolist()
        groups = {label: plane.points[labels == label] for label in classes}
        content += "".join(
            _svg_dots(plane, points, COLOURS[n % len(COLOURS)])
            for n, points in enumerate(groups.values())
        )
        content += "".join(
            _svg_text(plane, points.median(0).values, str(label))
            for label, points in groups.items()
        )
    return _svg(content)


def decoded_map_svg(plane: LatentPlane, explorer: Explorer, y: Tensor) -> str:
    """Draw a grid of the images that are decoded at the points of the plane.

    Arguments:
        y: Label (labels,) of the images.
    """
    centres = [(tile + 0.5) / MAP_TILES for tile in range(MAP_TILES)]
    points = [plane.point_at(across, down) for down in centres for across in centres]
    images = torch.stack([explorer.decode(plane.to_latent(*point), y) for point in points])
    grid = image_url(make_grid(images, MAP_TILES, padding=0))
    return _svg(f"<image href='{grid}' width='{MAP_SIZE}' height='{MAP_SIZE}'/>")


def _svg(content: str) -> str:
    view_box = f"0 0 {MAP_SIZE} {MAP_SIZE}"
    return f"<svg viewBox='{view_box}' role='img' aria-label='map of latents'>{content}</svg>"


def _svg_dots(plane: LatentPlane, points: Tensor, colour: str) -> str:
    positions = [_svg_position(plane, a, b) for a, b in points.tolist()]
    path = "".join("M{:.0f} {:.0f}h0".format(*position) for position in positions)
    return f"<path class='dots' d='{path}' stroke='{colour}'/>"


def _svg_text(plane: LatentPlane, point: Tensor, text: str) -> str:
    x, y = _svg_position(plane, *point.tolist())
    return f"<text x='{x:.0f}' y='{y:.0f}'>{escape(text)}</text>"


def _svg_axes(plane: LatentPlane) -> str:
    """Draw the lines where the coordinates of the plane are 0."""
    x, y = _svg_position(plane, 0, 0)
    return f"<path class='zero' d='M{x:.0f} 0V{MAP_SIZE}M0 {y:.0f}H{MAP_SIZE}'/>"


def _svg_position(plane: LatentPlane, a: float, b: float) -> tuple[float, float]:
    across, down = plane.position_of(a, b)
    return MAP_SIZE * across, MAP_SIZE * down
