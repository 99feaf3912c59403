"""What the model makes of each image of a split: `encode(vae, data, "test")`.

The noise is that of `evaluate`, so that the means of these terms over a split are its numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from vaelab.data.base import DataModule
from vaelab.distributions.codebook import QuantizedCodes
from vaelab.distributions.layers import Layers
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.one_hot import OneHots
from vaelab.distributions.point import PointMass
from vaelab.distributions.von_mises_fisher import VonMisesFisher
from vaelab.inference.batches import iterate_batches
from vaelab.inference.calibration import mean_calibration_error
from vaelab.inference.elbo_terms import sample_elbo_terms
from vaelab.runs.run import Run
from vaelab.vae import VAE

ROWS = 8192  # of a row group, at least


@dataclass
class EncodedBatch:
    """A batch of images, in the order of their split.

    Attributes:
        index: Of each image in its split (B,).
        label: (B,) or (B, attributes); (B, 0) is none.
        x: As the model sees them (B, *shape).
        decoded: The means of p(x|z) at the z of the terms (B, *shape).
        code: The `parts` of q(z|x), or that z where there are none.
        terms: reconstruction, kl and elbo (B,) in nats; without a density q(z|x), no kl or elbo.
    """

    index: Tensor
    label: Tensor
    x: Tensor
    decoded: Tensor
    code: dict[str, Tensor]
    terms: dict[str, Tensor]


@torch.no_grad()
def encode_batches(
    vae: VAE, data: DataModule, split: str = "test", seed: int = 0
) -> Iterator[EncodedBatch]:
    """The images of `split`, a batch at a time; an optimal scale has been calibrated before."""
    for number, (model, x, y) in iterate_batches(vae, data, split, seed, title="encoding"):
        index = number * data.batch_size + torch.arange(len(x))
        q, z, p, _, terms = sample_elbo_terms(model, x)
        yield EncodedBatch(index, y, x, p.mean, posterior_parameters(q) or {"z": z}, terms)


@singledispatch
def posterior_parameters(q: Distribution) -> dict[str, Tensor]:
    """What describes q(z|x) in numbers (B, n) or (B,) that are not drawn; nothing for a flow."""
    return {}


@posterior_parameters.register
def _(q: DiagonalNormal) -> dict[str, Tensor]:
    return {"mean": q.mean, "scale": q.scale}


@posterior_parameters.register
def _(q: MultivariateNormal) -> dict[str, Tensor]:
    """Of each dimension alone; of how they depend on each other nothing is said."""
    return {"mean": q.mean, "scale": q.stddev}


@posterior_parameters.register
def _(q: PointMass) -> dict[str, Tensor]:
    return {"mean": q.mean}


@posterior_parameters.register
def _(q: VonMisesFisher) -> dict[str, Tensor]:
    return {"direction": q.direction, "concentration": q.concentration}


@posterior_parameters.register
def _(q: QuantizedCodes) -> dict[str, Tensor]:
    return {"code": q.indices}


@posterior_parameters.register(Layers)
@posterior_parameters.register(OneHots)
def _(q: Layers | OneHots) -> dict[str, Tensor]:
    """Of layers, each at its mean given those before it; of categories, the likeliest."""
    return {"mode": q.mode}


def save_latents(run: Run, splits: Sequence[str], path: Path, settings: dict[str, Any]) -> None:
    """Write the codes and terms of some splits to a parquet file.

    Its columns are index, split, label (or label_0, ..., or label_<attribute>), the code as mean_0,
    ... and scale_0, ..., or as what else `Encoded.code` holds, and the terms in nats.

    Arguments:
        settings: What becomes metadata, as text.
    """
    from pyarrow.parquet import ParquetWriter

    if run.vae.likelihood.calibrated:
        run.vae.likelihood.calibrate(mean_calibration_error(run.vae, run.data, run.cfg.seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    part, tables = path.with_name(f"{path.name}.part"), _tables(run, splits)
    first = next(tables)
    schema = first.schema.with_metadata({key: str(value) for key, value in settings.items()})
    try:
        with ParquetWriter(part, schema) as writer:
            for table in chain([first], tables):
                writer.write_table(table)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _tables(run: Run, splits: Sequence[str]) -> Iterator[Any]:
    """Row groups, as tables of pyarrow."""
    import pyarrow

    batches = (
        pyarrow.table(_columns(split, batch, getattr(run.data, "attributes", ())))
        for split in splits
        for batch in encode_batches(run.vae, run.data, split, run.cfg.seed)
    )
    size = max(1, ROWS // run.data.batch_size)
    while group := list(islice(batches, size)):
        yield pyarrow.concat_tables(group).combine_chunks()


def _columns(split: str, batch: EncodedBatch, attributes: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {"index": batch.index.numpy(), "split": [split] * len(batch.index)}
    columns |= _spread("label", batch.label, attributes)
    for name, part in batch.code.items():
        columns |= _spread(name, part)
    return columns | {name: batch.terms[name].cpu().numpy() for name in batch.terms}


def _spread(name: str, values: Tensor, names: Sequence[str] = ()) -> dict[str, Any]:
    """A column (B,), or one for each of (B, n)."""
    if values.ndim == 1:
        return {name: values.cpu().numpy()}
    columns = values.T.cpu().contiguous().numpy()
    each = names if len(names) == len(columns) else range(len(columns))
    return {f"{name}_{which}": column for which, column in zip(each, columns, strict=True)}
