"""Structural similarity in place of a likelihood: `objective=ms_ssim`.

Reference: Learning to Generate Images with Perceptual Similarity Metrics (Snell et al., 2017),
section 3.2 (there EL-VAE), arXiv:1511.06409
"""

from typing import TYPE_CHECKING

from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import (
    Objective,
    check_at_least_one,
    check_no_parameters,
    check_not_negative,
    sample_with_kl,
)

if TYPE_CHECKING:
    from vaelab.vae import VAE

BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the metric's five scales, from the finest


class MSSSIM(Objective):
    """weight * (1 - MS-SSIM(x, mean of p(x|z))) + weighted KL.

    That is no density: its loss is no bound, and no ELBO is logged.

    Arguments:
        weight: In nats for a similarity of 0.
        scales: 1 to 5; each halves the picture, which must stay larger than the window.
        window: The edge in pixels of the window that is compared, odd and at least 3.
    """

    layers = True
    minimises_likelihood = False
    monitor = "val/objective"

    def __init__(self, kl: KLWeighting, weight: float = 500.0, scales: int = 2, window: int = 7):
        super().__init__()
        check_not_negative(weight=weight)
        check_at_least_one(scales=scales, window=window)
        if scales > len(BETAS):
            raise ValueError(f"objective.scales={scales}: the metric has {len(BETAS)}")
        if window % 2 == 0 or window < 3:
            raise ValueError(f"objective.window={window}: it must be odd, and at least 3")
        self.kl, self.weight, self.scales, self.window = kl, weight, scales, window
        self.betas = tuple(beta / sum(BETAS[:scales]) for beta in BETAS[:scales])

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        halves, asked = 2 ** (self.scales - 1), max(1, self.scales - 1) ** 2  # by the metric
        if len(vae.shape) != 3 or min(vae.shape[1:]) // max(halves, asked) < self.window:
            raise ValueError(
                f"objective=ms_ssim compares windows of {self.window}x{self.window} pixels on "
                f"{self.scales} scales, for which data.shape={list(vae.shape)} is too small: set "
                "objective.scales or objective.window"
            )
        check_no_parameters(
            vae.likelihood, "objective=ms_ssim would not train the scale: set loss=bce"
        )

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z, kl = sample_with_kl(vae.encode(x), vae.latents())
        similarity = self.similarity(x, vae.decode(z).mean)
        distortion = self.weight * (1 - similarity)
        loss = distortion + self.kl(kl, step)
        return {
            "loss": loss,
            "ms_ssim": similarity,
            "kl": kl.sum(-1),
            "objective": -(distortion + kl.sum(-1)),
            "kl_weight": loss.new_full((), self.kl.weight(step)),
        }

    def similarity(self, x: Tensor, y: Tensor) -> Tensor:
        """MS-SSIM (B,) of pictures (B, C, H, W) with pixels in [0, 1]."""
        return multiscale_structural_similarity_index_measure(
            y,
            x,
            gaussian_kernel=False,
            kernel_size=self.window,
            reduction="none",
            data_range=1.0,
            betas=self.betas,
            normalize="relu",
        )
