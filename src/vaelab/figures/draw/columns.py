"""Figures of tables: histograms and pair plots of columns, and reconstructions of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaelab.figures.draw.style import (
    DATA_COLOUR,
    MODEL_COLOUR,
    WIDTH,
    hide_frame,
    new_figure,
    plot_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PER_LINE = 4  # histograms
PANEL_HEIGHT = 1.4  # inches
BINS = 25
MAX_INTEGER_BINS = 30  # whole numbers in a larger range have bins of several numbers
MAX_CATEGORY_TICKS = 6
TAIL_FRACTION = 0.005  # of the values, left out at each end of an axis
MAX_POINTS = 500  # of the data and of the samples in a pair plot
JITTER = 0.15  # of whole numbers in a pair plot, to both sides
TITLE_LETTERS = 24
NAME_LETTERS = 20  # in a table
CELL_LETTERS = 15
MAX_LINEAR_RATIO = 10  # counts with a larger ratio of their largest and smallest have a log axis
LOG_TICKS = (0, 1, 10, 100, 1000, 10_000, 100_000, 1_000_000)
LINE_HEIGHT = 0.17  # inches of a table


class ColumnValues(NamedTuple):
    """A column of a table in the units of the data, and samples of the model.

    Attributes:
        data: Values (N,); NaN where a value is missing. Of a category its number.
        samples: Values (M,).
        categories: The names of the categories; empty for numbers.
    """

    name: str
    data: np.ndarray
    samples: np.ndarray
    categories: tuple[str, ...] = ()


class ReconstructedColumn(NamedTuple):
    """The formatted values of a column in some rows, and those of their reconstructions."""

    name: str
    values: list[str]
    reconstructions: list[str]


@plot_style()
def plot_column_histograms(columns: Sequence[ColumnValues]) -> Figure:
    """Plot a panel for each column: the data as a histogram, the samples as a line."""
    lines = math.ceil(len(columns) / PER_LINE)
    per_line = math.ceil(len(columns) / lines)
    figure = new_figure(max(WIDTH * per_line / PER_LINE, 4.0), lines * PANEL_HEIGHT + 0.3)
    panels = figure.subplots(lines, per_line, squeeze=False).flatten().tolist()
    for axes, column in zip(panels, columns, strict=False):
        _draw_histogram(axes, column)
        axes.set_title(_shorten(column.name, TITLE_LETTERS), pad=3)
    for axes in panels[len(columns) :]:
        axes.remove()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _draw_histogram(axes: Axes, column: ColumnValues) -> None:
    edges = _choose_edges(column)
    widths = np.diff(_to_log_axis(edges) if _is_skewed(column) else edges)
    for values, name, style in (
        (column.data, "training rows", {"fill": True, "color": DATA_COLOUR}),
        (column.samples, "samples", {"color": MODEL_COLOUR, "linewidth": 1.2}),
    ):
        known = values[~np.isnan(values)]
        counts, _ = np.histogram(known, edges)
        label = f"{len(values):,} {name}"
        axes.stairs(counts / widths / max(1, len(known)), edges, label=label, **style)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _set_ticks(axes, "x", column)


def _set_ticks(axes: Axes, axis: Any, column: ColumnValues) -> None:
    """Set scale and range of an axis, and label it with names of categories or some numbers."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    ticks = getattr(axes, f"{axis}axis")
    low, high = _choose_edges(column)[[0, -1]]
    if _is_skewed(column):
        getattr(axes, f"set_{axis}scale")("symlog", linthresh=1)
        shown = [number for number in LOG_TICKS if number <= high]
        ticks.set_ticks(shown, [_abbreviate(number) for number in shown])
        ticks.set_minor_locator(NullLocator())
    axes.set(**{f"{axis}lim": (low, high)})
    if _is_skewed(column):
        return
    if not column.categories:
        whole = _count_whole_numbers(column) is not None
        ticks.set_major_locator(MaxNLocator(4, integer=whole, min_n_ticks=2))
        return
    step = math.ceil(len(column.categories) / MAX_CATEGORY_TICKS)
    numbers = range(0, len(column.categories), step)
    letters = max(3, 20 // len(numbers))
    ticks.set_ticks(numbers, [_shorten(column.categories[n], letters) for n in numbers])


def _count_whole_numbers(column: ColumnValues) -> tuple[int, int] | None:
    """Return the smallest and the largest of the data and samples; None if some are not whole."""
    values = np.concatenate([column.data[~np.isnan(column.data)], column.samples])
    if not len(values) or (values % 1 != 0).any():
        return None
    return int(values.min()), int(values.max())


def _is_skewed(column: ColumnValues) -> bool:
    """True for counts of several orders of magnitude, which need a logarithmic axis."""
    found = None if column.categories else _count_whole_numbers(column)
    if found is None or found[0] < 0:
        return False
    low, high = _choose_range(column)
    return high > MAX_INTEGER_BINS and high > MAX_LINEAR_RATIO * low


def _to_log_axis(counts: np.ndarray) -> np.ndarray:
    """Return positions on the logarithmic axis, which is linear below 1, in units of a decade."""
    linear = 1 / (1 - 0.1)  # of matplotlib's symlog scale, with which 0 to 1 is about a decade
    return np.where(counts <= 1, counts * linear, linear + np.log10(np.maximum(counts, 1)))


def _abbreviate(number: int) -> str:
    """Write 1000 as 1k, and 1000000 as 1M."""
    text = f"{number}"
    return text.replace("000000", "M") if number >= 10**6 else text.replace("000", "k")


def _choose_edges(column: ColumnValues) -> np.ndarray:
    """Return the edges of the bins: one for each of a few whole numbers, else about BINS."""
    if column.categories:
        return np.arange(len(column.categories) + 1) - 0.5
    low, high = _choose_range(column)
    if _is_skewed(column):
        edges = np.expm1(np.linspace(0, np.log1p(high), BINS + 1))
        return np.unique(edges.round()) - 0.5
    if _count_whole_numbers(column) is not None:
        low, high = math.floor(low), math.ceil(high)
        step = math.ceil((high - low + 1) / MAX_INTEGER_BINS)
        return np.arange(low, high + step + 1, step) - 0.5
    return np.linspace(low, high, BINS + 1)


def _choose_range(column: ColumnValues) -> tuple[float, float]:
    """Return the range of data and samples, without TAIL_FRACTION of each at each end."""
    parts = [column.data[~np.isnan(column.data)], column.samples]
    ends = [np.quantile(part, (TAIL_FRACTION, 1 - TAIL_FRACTION)) for part in parts if len(part)]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    return (low, high) if low < high else (low - 0.5, high + 0.5)


@plot_style()
def plot_pairs(columns: Sequence[ColumnValues]) -> Figure:
    """Plot columns against each other: data below the diagonal, samples above it.

    The panels of the diagonal are histograms. Points of a few whole numbers are shifted at
    random, so that equal ones are visible.
    """
    size = len(columns)
    figure = new_figure(WIDTH, WIDTH * 0.9)
    panels = figure.subplots(size, size, squeeze=False)
    points = [
        [_move_whole_numbers(column, part, number) for part in (column.data, column.samples)]
        for number, column in enumerate(columns)
    ]
    for row, column in np.ndindex(size, size):
        axes: Any = panels[row, column]
        if row == column:
            _draw_histogram(axes, columns[row])
        else:
            is_sample = row < column
            colour = MODEL_COLOUR if is_sample else DATA_COLOUR
            axes.scatter(
                points[column][is_sample],
                points[row][is_sample],
                5,
                colour,
                alpha=0.6,
                linewidths=0,
            )
            _set_ticks(axes, "x", columns[column])
            _set_ticks(axes, "y", columns[row])
        axes.tick_params(labelbottom=row == size - 1, labelleft=column == 0 and row > 0)
        if row == size - 1:
            axes.set_xlabel(_shorten(columns[column].name, TITLE_LETTERS))
        if column == 0:
            axes.set_ylabel(_shorten(columns[row].name, TITLE_LETTERS))
    handles, _ = panels[0, 0].get_legend_handles_labels()
    labels = ["training rows, below the diagonal", "samples, above the diagonal"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _move_whole_numbers(column: ColumnValues, values: np.ndarray, seed: int) -> np.ndarray:
    """Return at most MAX_POINTS values, evenly spaced; whole numbers with a small random shift."""
    values = values[:: math.ceil(len(values) / MAX_POINTS)]
    found = _count_whole_numbers(column)
    if found is None or found[1] - found[0] > MAX_INTEGER_BINS:
        return values
    return values + np.random.default_rng(seed).uniform(-JITTER, JITTER, len(values))


@plot_style()
def plot_reconstruction_table(columns: Sequence[ReconstructedColumn], total: int) -> Figure:
    """Plot a table with a line for each column and two texts for each row.

    The upper text, on the colour of data, is the value, and the lower one its reconstruction.

    Arguments:
        total: The number of columns that the table has.
    """
    from matplotlib.patches import Rectangle

    count = len(columns[0].values)
    height = (2 * len(columns) + 3) * LINE_HEIGHT
    figure = new_figure(WIDTH, height)
    axes = figure.add_subplot()
    hide_frame(axes)
    axes.set(xticks=[], yticks=[], xlim=(0, count + 1.4), ylim=(2 * len(columns) + 1.2, -1.8))
    place: Any = {"va": "center", "fontsize": 8}
    for row in range(count):
        axes.text(row + 1.9, -0.7, f"test row {row}", ha="center", weight="bold", **place)
    for line, column in enumerate(columns):
        top = 2.0 * line
        axes.text(0, top + 1, _shorten(column.name, NAME_LETTERS), weight="bold", **place)
        box = Rectangle((1.4, top), count, 1, color=DATA_COLOUR, alpha=0.35, linewidth=0)
        axes.add_patch(box)
        pairs = zip(column.values, column.reconstructions, strict=True)
        for row, texts in enumerate(pairs):
            for offset, text in enumerate(texts):
                x, y = row + 1.9, top + offset + 0.5
                axes.text(x, y, _shorten(text, CELL_LETTERS), ha="center", **place)
        axes.axhline(top + 2, color="#BBBBBB", linewidth=0.5)
    note = "shaded: value; below: its reconstruction"
    note += f"; {len(columns)} of {total} columns" if len(columns) < total else ""
    axes.text(0, 2 * len(columns) + 0.8, note, va="center", fontsize=8)
    return figure


def _shorten(text: str, letters: int) -> str:
    """Cut a text to at most `letters` letters, the last one an ellipsis.

    Dollar signs are no math text.
    """
    text = text if len(text) <= letters else f"{text[: letters - 1]}…"
    return text.replace("$", r"\$")
