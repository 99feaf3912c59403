"""The part `reconstructions`: how similar images are to their reconstructions.

Reference: Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al.,
2004), IEEE Transactions on Image Processing 13(4)
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from vaelab.distributions.point_estimates import mode_or_mean
from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.new_images import check_image_data
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runs.run import RunParts

GAUSSIAN_WINDOW = 11  # pixels; the window is a Gaussian with a standard deviation of 1.5


@torch.no_grad()
def evaluate(run: RunParts, config: EvaluationConfig) -> EvaluationNumbers:
    """Compute PSNR and SSIM of the means of p(x|z), with z the mode of q(z|x).

    The RMSE of the same reconstructions is a number of the part `likelihood`.

    Returns:
        psnr in dB, the mean over images of -10 log10 of their mean squared error; ssim and
        ssim_window, the name of its window. Images of less than 11 pixels have a smaller window,
        and images of less than 3 pixels have no ssim.

    Raises:
        NotApplicable: If the data are not images.
    """
    check_image_data(run.data)
    window, name = _choose_window(min(run.data.shape[1:]))

    def compute(batch: EvaluationBatch) -> PerImage:
        mean = batch.model.decode(mode_or_mean(batch.model.encode(batch.x))).mean.clamp(0, 1)
        values = {"psnr": compute_psnr(mean, batch.x)}
        return values | ({"ssim": compute_ssim(mean, batch.x, window)} if window else {})

    values = collect_per_image(run.vae, run.data, config.split, compute, config.seed, config.images)
    numbers: Any = {key: value.double().mean().item() for key, value in values.items()}
    return numbers | ({"ssim_window": name} if window else {})


def compute_psnr(x: Tensor, y: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio (B,) in dB of images (B, C, H, W) in [0, 1]."""
    return peak_signal_noise_ratio(x, y, data_range=1.0, reduction="none", dim=(1, 2, 3))


def compute_ssim(x: Tensor, y: Tensor, window: int) -> Tensor:
    """Compute the structural similarity (B,) of images (B, C, H, W) in [0, 1].

    The mean is over the windows that lie inside the image, as in the paper.

    Arguments:
        window: The edge of the window in pixels. 11 is a Gaussian window, smaller ones are uniform.
    """
    _, similarities = structural_similarity_index_measure(
        x,
        y,
        gaussian_kernel=window == GAUSSIAN_WINDOW,
        kernel_size=window,
        data_range=1.0,
        reduction="none",
        return_full_image=True,  # with windows at the border too, where it is mirrored
    )
    border = window // 2
    inside: Tensor = similarities[..., border:-border, border:-border]
    return inside.flatten(1).mean(1)


def _choose_window(edge: int) -> tuple[int, str]:
    """Return the largest window for images of this edge, and its name; 0 if 3x3 does not fit."""
    if edge >= GAUSSIAN_WINDOW:
        return GAUSSIAN_WINDOW, f"{GAUSSIAN_WINDOW}x{GAUSSIAN_WINDOW}, a normal of scale 1.5"
    window = edge - 1 + edge % 2
    return (window, f"{window}x{window}, uniform") if window >= 3 else (0, "")
