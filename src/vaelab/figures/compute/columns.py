"""Columns of a table in the units of the data: values, samples of the model, reconstructions."""

from collections import Counter
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.data.description import list_column_names
from vaelab.distributions.columns import parse_columns
from vaelab.distributions.point_estimates import mean_at_total, mode_or_mean, sample_at_total
from vaelab.figures.compute.base import (
    FigureNotApplicable,
    evaluation_mode,
    select_evenly_spaced,
    to_data_units,
)
from vaelab.figures.draw.columns import ColumnValues, ReconstructedColumn
from vaelab.objectives.base import sample_prior
from vaelab.vae import VAE

MAX_ROWS = 2000  # of a histogram, and samples
MAX_VALUES = 2**22  # in these rows, of a table with many columns
MIN_ROWS = 100
MEASURED_ROWS = 500  # of which the variance of counts is computed
MAX_HISTOGRAMS = 12
MAX_PAIRED = 4  # columns of a pair plot
MAX_LISTED = 20  # columns of a table of reconstructions
RECONSTRUCTED_ROWS = 5


class TableVariable(NamedTuple):
    """A variable of a table: one column of x, or the one-hot columns of one category.

    Attributes:
        kind: real | binary | categorical | count.
        columns: The columns of x.
        categories: The names of the categories; empty for other kinds.
    """

    name: str
    kind: str
    columns: list[int]
    categories: tuple[str, ...] = ()


def list_variables(data: DataModule) -> list[TableVariable]:
    """Return the variables of a table, in the order of its columns.

    Raises:
        FigureNotApplicable: If x is no row of a table.
    """
    if len(data.shape) != 1:
        raise FigureNotApplicable(f"x has shape {list(data.shape)}, so it is no row of a table")
    names = list_column_names(data)
    if not data.column_kinds:
        kind = data.pixels if data.pixels in ("binary", "count") else "real"
        return [TableVariable(name, kind, [n]) for n, name in enumerate(names)]
    return [
        _name_category([names[n] for n in columns], columns)
        if kind == "categorical"
        else TableVariable(names[columns[0]], kind, columns)
        for kind, columns in parse_columns(data.column_kinds)
    ]


def _name_category(names: list[str], columns: list[int]) -> TableVariable:
    """Name a categorical variable by what the names of its columns have in common.

    The columns colour=red and colour=blue are the categories red and blue of colour, and class_0
    and class_1 the categories 0 and 1 of class. Columns without names are called x[:, 4:7].
    """
    letters = takewhile(lambda same: len(set(same)) == 1, zip(*names, strict=False))
    common = "".join(same[0] for same in letters)
    if "=" in common:
        variable = common.partition("=")[0]
        categories = [name.removeprefix(f"{variable}=") for name in names]
    elif common == "x[:, ":
        variable = f"x[:, {columns[0]}:{columns[-1] + 1}]"
        categories = [str(number) for number in range(len(names))]
    else:
        variable, categories = common.strip(" _-.:") or "category", names
        if all(len(name) > len(common) for name in names):
            categories = [name.removeprefix(common) for name in names]
    return TableVariable(variable, "categorical", columns, tuple(categories))


def choose_variables(data: DataModule, count: int) -> list[TableVariable]:
    """Return at most `count` variables, in the order of the table, of every kind that it has.

    Kinds take turns. Of counts, the columns with the largest variance come first, since many others
    may be almost always 0; of other kinds, whose units differ, the first columns.

    Raises:
        FigureNotApplicable: If x is no row of a table.
    """
    variables = list_variables(data)
    if len(variables) <= count:
        return variables
    rows = select_evenly_spaced(data.splits["train"], MEASURED_ROWS).images.float()
    mean = rows.nanmean(0)
    variance = (rows - mean).square().nanmean(0).nan_to_num(0)
    ordered = sorted(
        variables, key=lambda one: -variance[one.columns[0]] if one.kind == "count" else 0
    )
    seen: Counter[str] = Counter()
    turns = []
    for variable in ordered:
        turns.append((seen[variable.kind], variable))
        seen[variable.kind] += 1
    turns.sort(key=lambda turn: turn[0])
    return sorted((variable for _, variable in turns[:count]), key=lambda one: one.columns[0])


def compute_column_samples(vae: VAE, data: DataModule, count: int) -> list[ColumnValues]:
    """Compare training rows with samples x ~ p(x|z), z ~ p(z), in at most `count` variables.

    There are MAX_ROWS samples, fewer of tables with many columns. Conditional models get the labels
    of training rows. Counts with their total as exposure get the totals of training rows.

    Raises:
        FigureNotApplicable: If x is no row of a table, or samples are NaN or infinity.
    """
    variables = choose_variables(data, count)
    size = max(MIN_ROWS, min(MAX_ROWS, MAX_VALUES // data.shape[0]))
    rows = select_evenly_spaced(data.splits["train"], size)
    index = torch.arange(size) * len(rows.images) // size
    with evaluation_mode(vae) as device:
        x = data.prepare(rows.images.to(device))
        model = vae.condition_on(rows.labels[index].to(device))
        p = model.decode(sample_prior(model.latents(), size))
        samples = sample_at_total(p, x[index]).float()
    if not samples.isfinite().all():
        raise FigureNotApplicable("samples of p(x) contain NaN or infinity")
    own, new = _read_values(data, rows.images), to_data_units(samples, data)
    return [
        ColumnValues(
            variable.name,
            select_values(own, variable).numpy(),
            select_values(new, variable).numpy(),
            variable.categories,
        )
        for variable in variables
    ]


def _read_values(data: DataModule, images: Tensor) -> Tensor:
    """Return stored x (N, D) as numbers in the units of the data."""
    if data.standardization is None:
        return data.prepare(images).float().cpu()
    return images.float().cpu() / (255 if images.dtype == torch.uint8 else 1)


def select_values(x: Tensor, variable: TableVariable) -> Tensor:
    """Return the values (N,) of a variable; for a category its number, NaN where it is missing."""
    if variable.kind != "categorical":
        return x[:, variable.columns[0]]
    one_hot = x[:, variable.columns]
    number = one_hot.argmax(1).float()
    return torch.where(one_hot.isnan().any(1), torch.nan, number)


def compute_reconstructed_columns(
    vae: VAE, data: DataModule, count: int
) -> tuple[list[ReconstructedColumn], int]:
    """Reconstruct the first RECONSTRUCTED_ROWS test rows from the mode of q(z|x).

    A category is reconstructed as the most probable one, with its probability.

    Returns:
        At most `count` variables, and how many the table has.

    Raises:
        FigureNotApplicable: If x is no row of a table.
    """
    variables = choose_variables(data, count)
    images, labels = (part[:RECONSTRUCTED_ROWS] for part in data.splits["test"])
    with evaluation_mode(vae) as device:
        x, model = data.prepare(images.to(device)), vae.condition_on(labels.to(device))
        means = mean_at_total(model.decode(mode_or_mean(model.encode(x))), x)
    own, decoded = _read_values(data, images), to_data_units(means, data)
    columns = [format_column(own, decoded, variable) for variable in variables]
    return columns, len(list_variables(data))


def format_column(x: Tensor, decoded: Tensor, variable: TableVariable) -> ReconstructedColumn:
    """Format the values of a variable, (N,) texts, and those of its reconstructions."""
    values = select_values(x, variable).tolist()
    if variable.kind != "categorical":
        texts = [_format_value(value) for value in values]
        new = [_format_value(value) for value in select_values(decoded, variable).tolist()]
        if variable.kind == "binary":  # the probability of 1
            new = [f"{value:.3f}" for value in select_values(decoded, variable).tolist()]
        return ReconstructedColumn(variable.name, texts, new)
    names = variable.categories
    texts = ["missing" if value != value else names[int(value)] for value in values]
    best = decoded[:, variable.columns].max(1)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    new = [f"{names[number]} {probability:.0%}" for number, probability in pairs]
    return ReconstructedColumn(variable.name, texts, new)


def _format_value(value: float) -> str:
    if value != value:
        return "missing"
    if abs(value) >= 1000 and abs(value) < 1e6:
        return f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")
    text = f"{value:.3g}"
    return text if "e" in text else text.replace("-", "\N{MINUS SIGN}")
