"""What the parts that look at new images and reconstructions share."""

from torch import Tensor
from torch.distributions import Distribution

from vaelab.data.base import DataModule
from vaelab.evaluation.base import Absent, Asked
from vaelab.inference.sampling import sample
from vaelab.runs.run import Run
from vaelab.runtime.distributed import merged, share


def check_pictures(data: DataModule) -> None:
    """Raise Absent unless x are pictures, grey or RGB, with pixels between 0 and 1."""
    low, high = data.range
    if len(data.shape) != 3 or data.shape[0] not in (1, 3) or low < 0 or high > 1:
        raise Absent(
            "it is for pictures [1 or 3, height, width] with pixels in [0, 1], but data.shape="
            f"{list(data.shape)} and the pixels lie in [{low:g}, {high:g}]"
        )


def draws(run: Run) -> bool:
    """Whether images are draws of p(x|z), beside bits, or else its means, beside all other x."""
    pixels = run.data.pixels
    return pixels == "binary" and run.vae.likelihood.measure(pixels) == "probability"


def image(p: Distribution, draw: bool) -> Tensor:
    """An image of p(x|z): a draw of it or its mean."""
    return p.sample() if draw else p.mean


def new_images(run: Run, asked: Asked, n: int) -> Tensor:
    """n images of the model, (n, *shape), on every process; their labels are those of the split."""
    labels = run.data.splits[asked.split].labels[:n] if run.vae.conditional else None
    drawn = draws(run)
    x = sample(run.vae, run.data, asked.sampler, n, labels, asked.seed, drawn).x
    x = merged({0: x} if share()[0] == 0 else {})[0]  # a fit on a GPU may differ in the last bits
    return x / 255 if drawn else x
