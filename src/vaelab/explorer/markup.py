"""Render the numbers of a run and of an image as HTML and Markdown, without gradio."""

from collections.abc import Mapping, Sequence
from html import escape

import torch
from torch import Tensor

from vaelab.explorer.explorer import ELBO_SAMPLES, NLL_SAMPLES, Explorer
from vaelab.explorer.texts import METRIC_KEYS, Texts
from vaelab.figures.compute.base import to_data_units
from vaelab.figures.compute.columns import format_column
from vaelab.report.numbers import format_number, format_shape, format_with_error

NO_VALUE = "\N{EN DASH}"


def heading_html(explorer: Explorer, texts: Texts) -> str:
    """Render the name, the parts and the metrics of a run."""
    keys = [key for key in METRIC_KEYS if explorer.metrics.get(key) is not None]
    cards = "".join(
        f"<div><b>{escape(_format_metric(key, explorer, texts))}</b>{escape(texts[key])}</div>"
        for key in keys
    )
    return (
        f"<h2>{escape(explorer.name)}</h2><p class='quiet'>"
        f"{escape(describe_run(explorer, texts))}</p><div class='cards'>{cards}</div>"
    )


def _format_metric(key: str, explorer: Explorer, texts: Texts) -> str:
    metrics = explorer.metrics
    value = format_with_error(metrics[key], metrics.get(f"{key}_se"))
    if key != "active_units":
        return value
    return texts["of_dimensions"].format(count=value, total=explorer.vae.latent_dim)


def describe_run(explorer: Explorer, texts: Texts) -> str:
    """Return one line with the model, the data, the selected parts and the optimizer steps."""
    choices, metrics, data = explorer.choices, explorer.metrics, explorer.run.data
    shape = format_shape(data.shape)
    if len(data.shape) == 1:
        shape = texts["columns"].format(count=data.shape[0])
    if explorer.is_image:
        colours = texts["grayscale" if data.shape[0] == 1 else "rgb"]
        shape = f"{format_shape(data.shape[1:])} {colours}"
    description = texts["description"].format(
        model=choices.get("model", type(explorer.vae).__name__),
        latents=explorer.vae.latent_dim,
        data=choices.get("data", type(data).__name__),
        shape=shape,
        pixels=texts[data.pixels],
    )
    titles = {"posterior": "q(z|x) {choice}", "prior": "p(z) {choice}", "loss": "p(x|z) {choice}"}
    titles |= {"objective": texts["objective"]}
    if choices.get("kl", "constant") != "constant":
        titles["kl"] = texts["kl_schedule"]
    parts = [title.format(choice=choices[key]) for key, title in titles.items() if key in choices]
    parts.append(texts["steps"].format(count=format_number(explorer.run.step)))
    if {"images", "split"} <= metrics.keys():
        split = str(metrics["split"])
        split = texts[split] if split in ("test", "val") else split
        images = format_number(metrics["images"])
        parts.append(texts["metric_images"].format(images=images, split=split))
    return " · ".join([description, *parts])


def position_table(numbers: Mapping[str, float], texts: Texts) -> str:
    """Render the numbers of `Explorer.measure_latents` as a Markdown table."""
    rows = [[texts[key], format_number(value)] for key, value in numbers.items()]
    return markdown_table(["at_sliders", ""], rows, texts)


def values_table(explorer: Explorer, x: Tensor | None, mean: Tensor, texts: Texts) -> str:
    """Render a row of a table and the mean of p(x|z), both (D,) of the model, as Markdown."""
    given, decoded = (
        to_data_units(one, explorer.run.data).unsqueeze(0)
        for one in (torch.full_like(mean, torch.nan) if x is None else x, mean)
    )
    columns = [format_column(given, decoded, variable) for variable in explorer.variables]
    rows = [
        [escape(name), NO_VALUE if x is None else escape(values[0]), escape(new[0])]
        for name, values, new in columns
    ]
    return markdown_table(["column", "input", "decoded_value"], rows, texts)


def terms_table(terms: Mapping[str, float] | None, texts: Texts) -> str:
    """Render the ELBO terms of an image as Markdown, with a note on how they were estimated."""
    if terms is None:
        return texts["terms_need_image"]
    rows = [[texts[key], format_number(value)] for key, value in terms.items()]
    note = "terms_note_nll" if "nll" in terms else "terms_note"
    if "kl" not in terms:
        note = "terms_without_density"
    table = markdown_table(["of_image", ""], rows, texts)
    return f"{table}\n\n{texts[note].format(count=ELBO_SAMPLES, bound=NLL_SAMPLES)}"


def comparison_table(
    explorers: Sequence[Explorer], terms: Sequence[Mapping[str, float]], texts: Texts
) -> str:
    """Render the ELBO terms of one image under two runs as a Markdown table."""
    likelihoods = [_describe_likelihood(explorer, texts) for explorer in explorers]
    rows = [[texts["likelihood"], *likelihoods]]
    for key in dict.fromkeys(key for column in terms for key in column):
        values = [format_number(column[key]) if key in column else NO_VALUE for column in terms]
        rows.append([texts[key], *values])
    table = markdown_table(["image", "left", "right"], rows, texts)
    return f"{table}\n\n⚠ {texts['not_comparable']}" if len(set(likelihoods)) > 1 else table


def _describe_likelihood(explorer: Explorer, texts: Texts) -> str:
    likelihood, pixels = explorer.vae.likelihood, explorer.run.data.pixels
    return f"{type(likelihood).__name__} · {texts[pixels]} · {likelihood.measure(pixels)}"


def markdown_table(keys: Sequence[str], rows: Sequence[Sequence[str]], texts: Texts) -> str:
    """Render a Markdown table of trusted texts; all columns but the first are right-aligned."""
    header = [texts[key] if key else "" for key in keys]
    lines = [header, [":--", *["--:"] * (len(keys) - 1)], *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
