"""Pictures, maps and numbers as HTML; no gradio."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from vaelab.explorer.explorer import DRAWS, SAMPLES, Explorer
from vaelab.explorer.plane import LatentPlane
from vaelab.runtime.metric_names import METRICS

# Nine that colour-blind eyes tell apart (the scheme "muted" of Paul Tol, 2021), and a dark grey.
COLOURS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933")
COLOURS += ("#DDCC77", "#CC6677", "#882255", "#AA4499", "#555555")
HEADLINES = ("elbo", "nll", "reconstruction", "kl", "active_units", "bits_per_dim", "rmse")
SIZE = 1000  # of the map, in units of its drawing
PIXELS = {"binary": "bits", "levels": "256 levels", "dequantized": "dequantized levels"}
TILES = 16  # pictures along an edge of the map of pictures


def png(x: Tensor) -> bytes:
    """A picture (C, H, W) with values in [0, 1] as a file."""
    file = io.BytesIO()
    to_pil_image(x).save(file, "png")
    return file.getvalue()


def image(x: Tensor) -> str:
    """The address of a picture that holds the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(png(x)).decode()}"


def figure(x: Tensor | None, caption: str) -> str:
    words = escape(caption)
    inside = f"<img src='{image(x)}' alt='{words}'>" if x is not None else "<div class=none></div>"
    return f"<figure>{inside}<figcaption>{words}</figcaption></figure>"


def figures(*pairs: tuple[Tensor | None, str]) -> str:
    return f"<div class='figures'>{''.join(figure(*pair) for pair in pairs)}</div>"


def message(words: str) -> str:
    return f"<p class='message' role='alert'>⚠ {escape(words)}</p>" if words else ""


def heading(explorer: Explorer) -> str:
    """What was chosen for this run, and its numbers."""
    numbers, title = explorer.numbers, escape(explorer.name)
    cards = [_card(key, numbers) for key in HEADLINES if numbers.get(key) is not None]
    return (
        f"<div class='heading'><h2>{title}</h2><p>{escape(in_words(explorer))}</p>"
        f"<div class='cards'>{''.join(cards)}</div></div>"
    )


def in_words(explorer: Explorer) -> str:
    """The run in a sentence."""
    chosen, data = explorer.chosen, explorer.run.data
    shape = "x".join(map(str, data.shape[1:])) + (" grey" if data.shape[0] == 1 else " RGB")
    parts = [
        f"{chosen.get('model', type(explorer.vae).__name__)} with {explorer.vae.latent_dim} latents"
        f" on {chosen.get('data', type(data).__name__)}, {shape}, {_pixels(explorer)}"
    ]
    named = {"posterior": "q(z|x)", "prior": "p(z)", "loss": "p(x|z)", "objective": "objective"}
    parts += [f"{words} {chosen[key]}" for key, words in named.items() if key in chosen]
    if chosen.get("kl", "constant") != "constant":
        parts.append(f"KL weight {chosen['kl']}")
    parts.append(f"{explorer.run.step} steps")
    if {"images", "split"} <= explorer.numbers.keys():
        parts.append("numbers of {images} {split} images".format(**explorer.numbers))
    return " · ".join(parts)


def _pixels(explorer: Explorer) -> str:
    return PIXELS.get(explorer.run.data.pixels, "real numbers")


def _card(key: str, numbers: Mapping[str, Any]) -> str:
    value = f"{numbers[key]:#.4g}"
    if key == "active_units":
        value = str(numbers[key])
        value += (
            f" of {len(numbers['kl_per_dimension'])}" if numbers.get("kl_per_dimension") else ""
        )
    if key == "nll" and numbers.get("nll_se") is not None:
        value += f" ± {numbers['nll_se']:.2g}"
    return f"<div class='card'><b>{value}</b><span>{escape(str(METRICS[key]))}</span></div>"


def terms(found: Mapping[str, float]) -> str:
    """A table of the terms of one image, and what they are."""
    rows = [f"<tr><td>{_title(key)}</td><td>{value:#.4g}</td></tr>" for key, value in found.items()]
    words = f"Means of {DRAWS} draws of q(z|x)"
    words += f"; NLL is the bound with {SAMPLES} samples." if "nll" in found else "."
    if "kl" not in found:
        words = "Without a density q(z|x) there is neither KL nor ELBO nor NLL."
    return f"<table class='terms'>{''.join(rows)}</table><p class='quiet'>{words}</p>"


class Column(NamedTuple):
    """Of a comparison: a run, x as it sees it, its reconstruction, and the terms."""

    explorer: Explorer
    x: Tensor
    made: Tensor
    terms: Mapping[str, float]


def comparison(columns: Sequence[Column]) -> str:
    """The columns beside one another."""
    kinds = [_kind(column.explorer) for column in columns]
    names = [f"<b>{escape(column.explorer.name)}</b><br>" for column in columns]
    heads = [name + kind for name, kind in zip(names, kinds, strict=True)]
    rows = [
        _row("", heads, "th"),
        _row("what it sees", [_picture(each.explorer.shown(each.x)) for each in columns]),
        _row("its reconstruction", [_picture(each.made) for each in columns]),
    ]
    for key in dict.fromkeys(key for column in columns for key in column.terms):
        values = [each.terms.get(key) for each in columns]
        rows.append(_row(_title(key), ["-" if v is None else f"{v:#.4g}" for v in values]))
    note = message(UNLIKE) if len(set(kinds)) > 1 else ""
    return f"<table class='terms compared'>{''.join(rows)}</table>{note}"


UNLIKE = (
    "The runs differ in their likelihood or in the kind of their pixels: their nats cannot be "
    "compared, only their pictures."
)


def _kind(explorer: Explorer) -> str:
    likelihood = explorer.vae.likelihood
    measure = likelihood.measure(explorer.run.data.pixels)
    return f"{type(likelihood).__name__} of {_pixels(explorer)}: {measure}"


def _row(title: str, cells: Sequence[str], tag: str = "td") -> str:
    return f"<tr><td>{title}</td>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _picture(x: Tensor) -> str:
    return f"<img src='{image(x)}' alt=''>"


def _title(key: str) -> str:
    return escape(str(METRICS[key]))


def tiles(pictures: Iterable[tuple[int, Tensor, str]], chosen: int | None = None) -> str:
    """Pictures to click on: their index, the picture, and words."""
    buttons = [
        f"<button type='button' data-index='{index}' title='{escape(words)}'"
        f" aria-pressed='{str(index == chosen).lower()}'><img src='{image(x)}'"
        f" alt='{escape(words)}'></button>"
        for index, x, words in pictures
    ]
    return f"<div class='tiles'>{''.join(buttons)}</div>"


def strip(pictures: Iterable[Tensor]) -> str:
    return f"<div class='strip'>{''.join(_picture(x) for x in pictures)}</div>"


def points(plane: LatentPlane, labels: Tensor | None) -> str:
    """The map of codes as a drawing: a dot each, coloured by class, the class at its median.

    Arguments:
        labels: (N,) of at most ten classes, or None for dots of one colour.
    """
    inside = _frame(plane)
    if labels is None:
        inside += _dots(plane, plane.places, COLOURS[0])
    else:
        classes = labels.unique().tolist()
        groups = {each: plane.places[labels == each] for each in classes}
        inside += "".join(
            _dots(plane, places, COLOURS[n % len(COLOURS)])
            for n, places in enumerate(groups.values())
        )
        inside += "".join(
            _text(plane, places.median(0).values, str(each)) for each, places in groups.items()
        )
    return _drawing(inside)


def pictures(plane: LatentPlane, explorer: Explorer, y: Tensor) -> str:
    """The map as a grid of what its places decode to."""
    edges = [(each + 0.5) / TILES for each in range(TILES)]
    places = [plane.at(across, down) for down in edges for across in edges]
    made = torch.stack([explorer.decode(plane.code(*place), y) for place in places])
    grid = image(make_grid(made, TILES, padding=0))
    return _drawing(f"<image href='{grid}' width='{SIZE}' height='{SIZE}'/>")


def _drawing(inside: str) -> str:
    return f"<svg viewBox='0 0 {SIZE} {SIZE}' role='img' aria-label='map of codes'>{inside}</svg>"


def _dots(plane: LatentPlane, places: Tensor, colour: str) -> str:
    path = "".join("M{:.0f} {:.0f}h0".format(*_xy(plane, a, b)) for a, b in places.tolist())
    return f"<path class='dots' d='{path}' stroke='{colour}'/>"


def _text(plane: LatentPlane, place: Tensor, words: str) -> str:
    x, y = _xy(plane, *place.tolist())
    return f"<text x='{x:.0f}' y='{y:.0f}'>{escape(words)}</text>"


def _frame(plane: LatentPlane) -> str:
    """The two lines where a place is 0."""
    x, y = _xy(plane, 0, 0)
    return f"<path class='zero' d='M{x:.0f} 0V{SIZE}M0 {y:.0f}H{SIZE}'/>"


def _xy(plane: LatentPlane, a: float, b: float) -> tuple[float, float]:
    across, down = plane.shares(a, b)
    return SIZE * across, SIZE * down
