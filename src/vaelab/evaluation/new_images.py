"""What the parts that look at new images and reconstructions share."""

from torch import Tensor
from torch.distributions import Distribution

from vaelab.data.base import DataModule
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.inference.sampling import sample_images
from vaelab.runs.run import Run
from vaelab.runtime.distributed import merge_over_processes, rank_and_world_size


def check_image_data(data: DataModule) -> None:
    """Raise Absent unless x are pictures, grey or RGB, with pixels between 0 and 1."""
    low, high = data.range
    if len(data.shape) != 3 or data.shape[0] not in (1, 3) or low < 0 or high > 1:
        raise NotApplicable(
            "it is for pictures [1 or 3, height, width] with pixels in [0, 1], but data.shape="
            f"{list(data.shape)} and the pixels lie in [{low:g}, {high:g}]"
        )


def uses_pixel_samples(run: Run) -> bool:
    """Whether images are draws of p(x|z), beside bits, or else its means, beside all other x."""
    pixels = run.data.pixels
    return pixels == "binary" and run.vae.likelihood.measure(pixels) == "probability"


def sample_or_mean(p: Distribution, draw: bool) -> Tensor:
    """An image of p(x|z): a draw of it or its mean."""
    return p.sample() if draw else p.mean


def generate_images(run: Run, asked: EvaluationConfig, n: int) -> Tensor:
    """n images of the model, (n, *shape), on every process; their labels are those of the split."""
    labels = run.data.splits[asked.split].labels[:n] if run.vae.conditional else None
    drawn = uses_pixel_samples(run)
    x = sample_images(run.vae, run.data, asked.sampler, n, labels, asked.seed, drawn).x
    x = merge_over_processes({0: x} if rank_and_world_size()[0] == 0 else {})[
        0
    ]  # a fit on a GPU may differ in the last bits
    return x / 255 if drawn else x
