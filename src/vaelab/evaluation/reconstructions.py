"""How like the images of the split their reconstructions are, pixel by pixel and in windows.

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

from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.new_images import check_image_data
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image, mode_or_mean
from vaelab.runs.run import Run

WINDOW = 11  # pixels of the edge that a normal of scale 1.5 is cut off at


@torch.no_grad()
def evaluate(run: Run, asked: EvaluationConfig) -> dict[str, Any]:
    """Of the means of p(x|z) at the likeliest code, whose RMSE is a number of the likelihood part.

    Returns:
        psnr in dB, the mean over images of -10 log10 of their mean squared error; ssim and its
        ssim_window, which is smaller where the pictures are, and absent below 3x3 pixels.
    """
    check_image_data(run.data)
    window, name = _window(min(run.data.shape[1:]))

    def compute(batch: EvaluationBatch) -> PerImage:
        mean = batch.model.decode(mode_or_mean(batch.model.encode(batch.x))).mean.clamp(0, 1)
        found = {"psnr": psnr(mean, batch.x)}
        return found | ({"ssim": ssim(mean, batch.x, window)} if window else {})

    found = collect_per_image(run.vae, run.data, asked.split, compute, asked.seed, asked.images)
    numbers = {key: values.double().mean().item() for key, values in found.items()}
    return numbers | ({"ssim_window": name} if window else {})


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) in dB of pictures (B, C, H, W) with pixels in [0, 1]."""
    return peak_signal_noise_ratio(x, y, data_range=1.0, reduction="none", dim=(1, 2, 3))


def ssim(x: Tensor, y: Tensor, window: int) -> Tensor:
    """Structural similarity (B,) of pictures (B, C, H, W) with pixels in [0, 1].

    Its windows are centred on every pixel, the picture being mirrored at its border; one of less
    than 11 pixels weighs its pixels alike.
    """
    found: Any = structural_similarity_index_measure(
        x,
        y,
        gaussian_kernel=window == WINDOW,
        kernel_size=window,
        data_range=1.0,
        reduction="none",
    )
    return found


def _window(edge: int) -> tuple[int, str]:
    """The largest window in pictures of this edge, and its name; 0 where none of 3x3 fits."""
    if edge >= WINDOW:
        return WINDOW, f"{WINDOW}x{WINDOW}, a normal of scale 1.5"
    window = edge - 1 + edge % 2
    return (window, f"{window}x{window}, uniform") if window >= 3 else (0, "")
