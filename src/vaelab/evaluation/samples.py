"""The part `samples`: compare the features of new images and reconstructions with real images.

FID is biased by the number of images. So every comparison uses equally many images on both sides,
and only FIDs with equal `fid_images` and `features` are comparable. A meaningful FID needs some
thousand images.
"""

import torch
from torch import Tensor

from vaelab.distributions.point_estimates import mode_or_mean
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.new_images import (
    check_image_data,
    generate_images,
    sample_or_mean,
    uses_pixel_samples,
)
from vaelab.features.base import Features
from vaelab.features.named import load_features
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.metrics.frechet import frechet_distance
from vaelab.metrics.kernel import kernel_distance
from vaelab.metrics.support import DEFAULT_NEIGHBOURS, compute_support
from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runs.run import RunParts
from vaelab.runtime.distributed import merge_over_processes, progress_bar, rank_and_world_size

BATCH_SIZE = 100  # new images in a pass of the feature network


@torch.no_grad()
def evaluate(run: RunParts, config: EvaluationConfig) -> EvaluationNumbers:
    """Compute FID, KID, precision, recall, density and coverage of new images.

    Returns:
        features (the name of the network), sampler, temperature, compared (draws or means of
        p(x|z)), fid_images, fid, kid and its standard error kid_se, precision, recall, density,
        coverage; fid_reconstructions, the FID of reconstructions from the mode of q(z|x);
        fid_floor, the FID of as many training images, which a perfect model would reach. It is
        missing if there are fewer training images.

    Raises:
        NotApplicable: If the data are not images, the weights of the feature network are missing,
            or the images are too few.
    """
    check_image_data(run.data)
    name = config.features or run.data.features
    net = _load_features(name).to(next(run.vae.parameters()).device)
    draw = uses_pixel_samples(run)

    def compute(batch: EvaluationBatch) -> PerImage:
        p = batch.model.decode(mode_or_mean(batch.model.encode(batch.x)))
        return {"real": net(batch.x), "again": net(sample_or_mean(p, draw).clamp(0, 1))}

    features = collect_per_image(
        run.vae,
        run.data,
        config.split,
        compute,
        config.seed,
        config.images,
        config.journal_folder("samples"),
        title="features of",
    )
    real, n = features["real"], len(features["real"])
    if n <= DEFAULT_NEIGHBOURS:
        raise NotApplicable(
            f"{n} images are too few to compare: take at least --images {DEFAULT_NEIGHBOURS + 1}"
        )
    new = _compute_features(net, generate_images(run, config, n))
    kid, error = kernel_distance(real, new)
    support = compute_support(real, new)
    numbers: EvaluationNumbers = {
        "features": name,
        "sampler": config.sampler.name,
        "temperature": config.sampler.temperature,
        "compared": "draws" if draw else "means",
        "fid_images": n,
        "fid": frechet_distance(real, new),
        "kid": kid,
        "kid_se": error,
        "fid_reconstructions": frechet_distance(real, features["again"]),
    }
    if config.split != "train" and n <= len(run.data.splits["train"].images):
        training = _compute_training_features(run, config, net, n)
        numbers["fid_floor"] = frechet_distance(real, training)
    numbers |= {"precision": support.precision, "recall": support.recall}
    numbers |= {"density": support.density, "coverage": support.coverage}
    return numbers


def _load_features(name: str) -> Features:
    """Load a feature network; the part is not applicable if it is not installed."""
    try:
        return load_features(name)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise NotApplicable(str(error)) from error


def _compute_training_features(
    run: RunParts, config: EvaluationConfig, net: Features, n: int
) -> Tensor:
    """Compute the features of n random training images."""

    def compute(batch: EvaluationBatch) -> PerImage:
        return {"x": net(batch.x)}

    journal = config.journal_folder("samples-floor")
    return collect_per_image(
        run.vae, run.data, "train", compute, images=n, journal=journal, title="features of"
    )["x"]


def _compute_features(net: Features, images: Tensor) -> Tensor:
    """Compute the features of images (N, *shape); each process computes a part of the batches."""
    rank, world = rank_and_world_size()
    device = next(net.parameters()).device
    batches = images.clamp(0, 1).split(BATCH_SIZE)
    bar = progress_bar(range(rank, len(batches), world), "features of samples")
    features = {number: net(batches[number].to(device)).cpu() for number in bar}
    return torch.cat([part for _, part in sorted(merge_over_processes(features).items())])
