"""Charts of a report as Vega-Lite specifications, which the page's script draws.

Names and texts of a run are values of data, never names of fields or expressions. Colours are
variables of style.css, so that a chart follows the light or dark scheme of the page. All charts
zoom with Ctrl and the mouse wheel, move with the mouse, and a double click resets them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Spec = dict[str, Any]  # of Vega-Lite, or a part of one
Rows = list[dict[str, Any]]  # of the data of a chart

ZOOM_KEYS = "event.ctrlKey || event.metaKey"
ZOOM = {
    "name": "zoom",
    "select": {"type": "interval", "zoom": f"wheel![{ZOOM_KEYS}]"},
    "bind": "scales",
}
LIT = "datum.job === lit"  # the job at the pointer, in the table or in any chart
SHOWN = "!shown || indexof(shown, datum.job) >= 0"  # False for jobs without a chosen value
JOB_PARAMETERS = [
    {"name": "lit", "value": None},
    {"name": "shown", "value": None},
    {"name": "chosen", "value": []},
]


def make_chart(layers: Sequence[Spec], height: int, description: str, **more: Any) -> Spec:
    """Return a chart of several layers, as wide as the element that contains it."""
    size = {"width": "container", "height": height}
    return {**size, "description": description, "layer": list(layers), **more}


def make_layer(
    kind: str, rows: Rows | None = None, encoding: Spec | None = None, **mark: Any
) -> Spec:
    """Return a layer of marks of one kind with their settings, with data of their own if given."""
    layer = {"mark": {"type": kind, **mark}, "encoding": encoding or {}}
    return layer if rows is None else {"data": {"values": rows}, **layer}


def choose(test: Any, value: Any, otherwise: Any) -> Spec:
    """Return the encoding of a value if a test is true, and of another value otherwise."""
    return {"condition": {"test": test, "value": value}, "value": otherwise}


def make_position(field: str, title: str | None, domain: Sequence[float], **more: Any) -> Spec:
    """Return the encoding of a position on a linear axis from domain[0] to domain[1]."""
    scale = {"domain": list(domain), "zero": False, "nice": False}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, **more}


def make_colour(field: str, colours: Mapping[str, str], title: str | None = None) -> Spec:
    """Return the encoding of the colour of each value: the name of a variable of style.css."""
    legend = {"title": title, "orient": "top", "titleOrient": "left"} if title else None
    variables = [f"var(--{colour})" for colour in colours.values()]
    scale = {"domain": list(colours), "range": variables}
    return {"field": field, "type": "nominal", "scale": scale, "legend": legend}


def make_tooltip(**titles: str) -> list[Spec]:
    """Return the encoding of a tooltip, from the title of each field, whose values are texts."""
    return [{"field": field, "title": title, "type": "nominal"} for field, title in titles.items()]


def compute_range(values: Iterable[float], margin: float = 0.06) -> tuple[float, float]:
    """Return a range that contains all values, which may all be equal.

    Arguments:
        margin: Space at both ends, as a fraction of the range of the values.
    """
    values = list(values)
    low, high = min(values), max(values)
    space = margin * (high - low) if high > low else 0.05 * abs(high) or 1.0
    return low - space, high + space


def list_round_values(low: float, high: float, count: int = 5) -> tuple[list[float], int]:
    """Return about `count` round values between low and high, and the decimals that they need.

    Their step is the smallest of 1, 2, 5, 10 times a power of ten that is not too small.
    """
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= 0.999 * (high - low) / count)
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [n * step for n in numbers], max(0, -math.floor(math.log10(step) + 1e-9))
