"""How new images and reconstructions look to a trained net, beside the images of the split.

Everything is of as many images on either side, because FID is biased: only numbers of equal
`fid_images` and `features` compare. It takes some thousand images for FID to mean much.
"""

from typing import Any

import torch
from torch import Tensor

from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.new_images import (
    check_image_data,
    generate_images,
    sample_or_mean,
    uses_pixel_samples,
)
from vaelab.features.base import Features
from vaelab.features.named import load_features
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image, mode_or_mean
from vaelab.metrics.frechet import frechet_distance
from vaelab.metrics.kernel import kernel_distance
from vaelab.metrics.support import NEIGHBOURS, compute_support
from vaelab.runs.run import Run
from vaelab.runtime.distributed import merge_over_processes, progress_bar, rank_and_world_size

AT_ONCE = 100  # images that the net sees


@torch.no_grad()
def evaluate(run: Run, asked: EvaluationConfig) -> dict[str, Any]:
    """FID, KID, precision, recall, density and coverage of new images.

    Returns:
        features (the net), sampler, temperature, compared (draws or means of p(x|z)), fid_images,
        fid, kid and its standard error kid_se, precision, recall, density, coverage;
        fid_reconstructions of the likeliest codes; fid_floor, of as many training images, which a
        model that knows all but the images of the split would come to, if there are as many.
    """
    check_image_data(run.data)
    name = asked.features or run.data.features
    net = _net(name).to(next(run.vae.parameters()).device)
    drawn = uses_pixel_samples(run)

    def both(batch: EvaluationBatch) -> PerImage:
        p = batch.model.decode(mode_or_mean(batch.model.encode(batch.x)))
        return {"real": net(batch.x), "again": net(sample_or_mean(p, drawn).clamp(0, 1))}

    journal = asked.journal("samples")
    where = (run.vae, run.data, asked.split)
    found = collect_per_image(*where, both, asked.seed, asked.images, journal, title="features of")
    real, n = found["real"], len(found["real"])
    if n <= NEIGHBOURS:
        raise NotApplicable(f"{n} images are too few to compare: take at least {NEIGHBOURS + 1}")
    new = _seen(net, generate_images(run, asked, n))
    kid, error = kernel_distance(real, new)
    numbers = {
        "features": name,
        "sampler": asked.sampler.name,
        "temperature": asked.sampler.temperature,
        "compared": "draws" if drawn else "means",
        "fid_images": n,
        "fid": frechet_distance(real, new),
        "kid": kid,
        "kid_se": error,
        "fid_reconstructions": frechet_distance(real, found["again"]),
    }
    if asked.split != "train" and n <= len(run.data.splits["train"].images):
        numbers["fid_floor"] = frechet_distance(real, _training(run, asked, net, n))
    return numbers | compute_support(real, new)._asdict()


def _net(name: str) -> Features:
    try:
        return load_features(name)
    except FileNotFoundError as error:
        raise NotApplicable(str(error)) from error


def _training(run: Run, asked: EvaluationConfig, net: Features, n: int) -> Tensor:
    """Features of the first n training images."""

    def compute(batch: EvaluationBatch) -> PerImage:
        return {"x": net(batch.x)}

    where, journal = (run.vae, run.data, "train"), asked.journal("samples-floor")
    return collect_per_image(*where, compute, images=n, journal=journal, title="features of")["x"]


def _seen(net: Features, images: Tensor) -> Tensor:
    """Features of images (N, *shape), of which each process looks at a part."""
    rank, world = rank_and_world_size()
    device = next(net.parameters()).device
    chunks = images.clamp(0, 1).split(AT_ONCE)
    numbers = range(rank, len(chunks), world)
    bar = progress_bar(numbers, "features of samples")
    found = merge_over_processes({number: net(chunks[number].to(device)).cpu() for number in bar})
    return torch.cat([part for _, part in sorted(found.items())])
