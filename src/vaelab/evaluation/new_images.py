"""New images and reconstructions, for the parts of an evaluation that compare images."""

from torch import Tensor
from torch.distributions import Distribution

from vaelab.data.base import DataModule, choose_subset
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.inference.sampling import sample_images
from vaelab.runs.run import RunParts
from vaelab.runtime.distributed import merge_over_processes, rank_and_world_size


def check_image_data(data: DataModule) -> None:
    """Check that the data are grayscale or RGB images with pixels in [0, 1].

    Raises:
        NotApplicable: If they are not.
    """
    if data.has_missing:
        raise NotApplicable("this part compares whole images, but the data have missing values")
    low, high = data.range
    if len(data.shape) != 3 or data.shape[0] not in (1, 3) or low < 0 or high > 1:
        raise NotApplicable(
            "this part needs x of shape [1 or 3, height, width] in [0, 1], but data.shape="
            f"{list(data.shape)} and x lies in [{low:g}, {high:g}]"
        )


def uses_pixel_samples(run: RunParts) -> bool:
    """True if images are samples of p(x|z), which binary pixels need; False if they are means."""
    pixels = run.data.pixels
    return pixels == "binary" and run.vae.likelihood.measure(pixels) == "probability"


def sample_or_mean(p: Distribution, draw: bool) -> Tensor:
    """Return a sample of p(x|z) if `draw`, else its mean."""
    return p.sample() if draw else p.mean


def generate_images(run: RunParts, config: EvaluationConfig, n: int) -> Tensor:
    """Generate n images (n, *shape), the same on every process.

    Models whose samples take labels get the labels of the n images of the split that are evaluated.
    """
    labels = None
    if run.vae.samples_take_labels:
        known = run.data.splits[config.split].labels
        labels = known[choose_subset(len(known), n)]
    draw = uses_pixel_samples(run)
    x = sample_images(run.vae, run.data, config.sampler, n, labels, config.seed, draw).x
    # A sampler that was fitted on a GPU may differ between processes: all take those of the first.
    x = merge_over_processes({0: x} if rank_and_world_size()[0] == 0 else {})[0]
    return x / 255 if draw else x
