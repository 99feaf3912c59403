"""Encode the images of a split, in batches or to a parquet file.

The noise is that of an evaluation with the same seed, so the means of the ELBO terms over a split
are the numbers of its evaluation.
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
from vaelab.distributions.layers import HierarchicalNormal
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.one_hot import OneHotAndNormal
from vaelab.distributions.point import PointMass
from vaelab.distributions.point_estimates import mean_at_total
from vaelab.distributions.von_mises_fisher import VonMisesFisher
from vaelab.inference.batches import iterate_batches
from vaelab.inference.calibration import compute_mean_error_statistic
from vaelab.inference.elbo_terms import sample_elbo_terms
from vaelab.runs.run import RunParts
from vaelab.vae import VAE

GROUP_ROWS = 8192  # rows of a parquet row group, rounded down to whole batches


@dataclass
class EncodedBatch:
    """A batch of encoded images, in the order of their split.

    Attributes:
        index: The index of each image in its split (B,).
        label: Labels (B,), or attributes (B, attributes); (B, 0) without labels.
        x: The images (B, *shape) as the model receives them.
        decoded: The means of p(x|z) (B, *shape), with z sampled from q(z|x); those of counts with
            an exposure have the total of each x.
        posterior: The parameters of q(z|x), see `extract_posterior_parameters`; for a q(z|x)
            without parameters that sample, as z.
        terms: reconstruction, kl and elbo (B,) in nats for the same z; no kl and elbo if q(z|x) has
            no density.
    """

    index: Tensor
    label: Tensor
    x: Tensor
    decoded: Tensor
    posterior: dict[str, Tensor]
    terms: dict[str, Tensor]


@torch.no_grad()
def encode_batches(
    vae: VAE, data: DataModule, split: str = "test", seed: int = 0
) -> Iterator[EncodedBatch]:
    """Encode the images of a split batch by batch.

    A likelihood with loss.scale=optimal must be calibrated before.
    """
    for _, (model, x, y, index) in iterate_batches(vae, data, split, seed, title="encoding"):
        q, z, p, _, terms = sample_elbo_terms(model, x)
        yield EncodedBatch(
            index, y, x, mean_at_total(p, x), extract_posterior_parameters(q) or {"z": z}, terms
        )


@singledispatch
def extract_posterior_parameters(q: Distribution) -> dict[str, Tensor]:
    """Return the parameters of q(z|x) by name, (B, n) or (B,); flows have none and return {}."""
    return {}


@extract_posterior_parameters.register
def _(q: DiagonalNormal) -> dict[str, Tensor]:
    return {"mean": q.mean, "scale": q.scale}


@extract_posterior_parameters.register
def _(q: MultivariateNormal) -> dict[str, Tensor]:
    """Return mean and standard deviation of each dimension, without the correlations."""
    return {"mean": q.mean, "scale": q.stddev}


@extract_posterior_parameters.register
def _(q: PointMass) -> dict[str, Tensor]:
    return {"mean": q.mean}


@extract_posterior_parameters.register
def _(q: VonMisesFisher) -> dict[str, Tensor]:
    return {"direction": q.direction, "concentration": q.concentration}


@extract_posterior_parameters.register
def _(q: QuantizedCodes) -> dict[str, Tensor]:
    return {"code": q.indices}


@extract_posterior_parameters.register(HierarchicalNormal)
@extract_posterior_parameters.register(OneHotAndNormal)
def _(q: HierarchicalNormal | OneHotAndNormal) -> dict[str, Tensor]:
    """Return the mode: each layer's mean given the layers before it, or each category's argmax."""
    return {"mode": q.mode}


def save_latents(
    run: RunParts, splits: Sequence[str], path: Path, settings: dict[str, Any]
) -> None:
    """Write the latents and ELBO terms of some splits to a parquet file.

    Its columns are index, split, label (or label_0, ..., or label_<attribute>), the parameters of
    q(z|x) as in `EncodedBatch.posterior`, for example mean_0, ... and scale_0, ..., and the terms
    in nats.

    Arguments:
        settings: Metadata of the file, converted to text.
    """
    from pyarrow.parquet import ParquetWriter

    if run.vae.likelihood.needs_calibration:
        run.vae.likelihood.calibrate(compute_mean_error_statistic(run.vae, run.data, run.cfg.seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    tables = _iterate_row_groups(run, splits)
    first = next(tables)
    schema = first.schema.with_metadata({key: str(value) for key, value in settings.items()})
    try:
        with ParquetWriter(part, schema) as writer:
            for table in chain([first], tables):
                writer.write_table(table)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _iterate_row_groups(run: RunParts, splits: Sequence[str]) -> Iterator[Any]:
    """Iterate over row groups, as pyarrow tables."""
    import pyarrow

    batches = (
        pyarrow.table(_build_columns(split, batch, getattr(run.data, "attributes", ())))
        for split in splits
        for batch in encode_batches(run.vae, run.data, split, run.cfg.seed)
    )
    size = max(1, GROUP_ROWS // run.data.evaluation_batch)
    while group := list(islice(batches, size)):
        yield pyarrow.concat_tables(group).combine_chunks()


def _build_columns(split: str, batch: EncodedBatch, attributes: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {"index": batch.index.numpy(), "split": [split] * len(batch.index)}
    columns |= _split_columns("label", batch.label, attributes)
    for name, part in batch.posterior.items():
        columns |= _split_columns(name, part)
    return columns | {name: batch.terms[name].cpu().numpy() for name in batch.terms}


def _split_columns(name: str, values: Tensor, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return one column for values (B,), or n columns for values (B, n).

    Arguments:
        names: The suffixes of the n columns; by default their numbers.
    """
    if values.ndim == 1:
        return {name: values.cpu().numpy()}
    columns = values.T.cpu().contiguous().numpy()
    suffixes = names if len(names) == len(columns) else range(len(columns))
    return {f"{name}_{suffix}": column for suffix, column in zip(suffixes, columns, strict=True)}
