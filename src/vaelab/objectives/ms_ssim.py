"""Multi-scale structural similarity instead of a likelihood: `objective=ms_ssim`.

Reference: Learning to Generate Images with Perceptual Similarity Metrics (Snell et al., 2017),
section 3.2 (called EL-VAE there), arXiv:1511.06409
"""

from typing import TYPE_CHECKING

from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import (
    Objective,
    check_at_least_one,
    check_no_missing_values,
    check_no_parameters,
    check_non_negative,
    sample_with_kl,
)
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE

BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales of MS-SSIM, finest first


class MSSSIM(Objective):
    """The dissimilarity of x and its reconstruction, plus the weighted KL.

        loss = weight * (1 - MS-SSIM(x, E[p(x|z)])) + weighted KL,    z ~ q(z|x)

    MS-SSIM is not a density, so the loss is not a bound on log p(x), and no ELBO is logged.

    Arguments:
        kl: The weighting of the KL.
        weight: The loss in nats at a similarity of 0.
        scales: The number of scales, 1 to 5. Each scale halves the image, which must not become
            smaller than the window.
        window: The edge of the compared window in pixels, odd and at least 3.

    Raises:
        UserError: If `weight`, `scales` or `window` is out of range.
    """

    supports_layers = True
    maximises_likelihood = False
    monitor = "val/objective"

    def __init__(self, kl: KLWeighting, weight: float = 500.0, scales: int = 2, window: int = 7):
        super().__init__()
        check_non_negative(weight=weight)
        check_at_least_one(scales=scales, window=window)
        if scales > len(BETAS):
            raise UserError(f"objective.scales={scales}: MS-SSIM has at most {len(BETAS)} scales")
        if window % 2 == 0 or window < 3:
            raise UserError(f"objective.window={window}: it must be odd, and at least 3")
        self.kl, self.weight, self.scales, self.window = kl, weight, scales, window
        self.betas = tuple(beta / sum(BETAS[:scales]) for beta in BETAS[:scales])

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        check_no_missing_values(vae, "ms_ssim")
        # The last scale is smaller by 2^(scales - 1); torchmetrics also checks (scales - 1)^2.
        divisor = max(2 ** (self.scales - 1), max(1, self.scales - 1) ** 2)
        if len(vae.shape) != 3:
            raise UserError(
                "objective=ms_ssim compares images (C, H, W), but "
                f"data.shape={list(vae.shape)}: set another objective, such as elbo"
            )
        if min(vae.shape[1:]) // divisor < self.window:
            raise UserError(
                f"objective=ms_ssim compares windows of {self.window}x{self.window} pixels at "
                f"{self.scales} scales, which needs larger images (C, H, W) than "
                f"data.shape={list(vae.shape)}: set objective.scales or objective.window to a "
                "smaller number"
            )
        check_no_parameters(
            vae.likelihood,
            "objective=ms_ssim would not train the scale of the likelihood: set loss=bce",
        )

    def check_range(self, low: float, high: float) -> None:
        if low < 0 or high > 1:
            raise UserError(
                "objective=ms_ssim compares pixels in [0, 1], but the pixels of the data lie in "
                f"[{low:g}, {high:g}]: scale them to [0, 1] (data.scale divides arrays), or choose "
                "another objective"
            )

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z, kl = sample_with_kl(vae.encode(x), vae.latents())
        similarity = self.similarity(x, vae.decode(z).mean)
        distortion = self.weight * (1 - similarity)
        loss = distortion + self.kl(kl, step)
        terms = {
            "loss": loss,
            "ms_ssim": similarity,
            "kl": kl.sum(-1),
            "objective": -(distortion + kl.sum(-1)),
            "kl_weight": loss.new_full((), self.kl.weight(step)),
        }
        if not self.kl.is_plain:
            terms["criterion"] = -(distortion + self.kl(kl, self.kl.final_step)).detach()
        return terms

    def similarity(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute MS-SSIM (B,) of images x, y (B, C, H, W) with pixels in [0, 1]."""
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
