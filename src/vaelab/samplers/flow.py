"""A normalizing flow that is fitted to the latents: `sampler=flow`.

References:
    Neural Spline Flows (Durkan et al., 2019), arXiv:1906.04032
    Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), arXiv:1705.07057
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from zuko.flows.autoregressive import MAF
from zuko.flows.spline import NSF

from vaelab.samplers.base import check_at_least_one
from vaelab.samplers.learned import LearnedSampler


class FlowSampler(LearnedSampler):
    """A flow z = f(T e) with e ~ N(0, I) and temperature T.

    It is trained at T = 1 with log p(z) = log N(f^-1(z); 0, I) + ln |det df^-1/dz|. Sampling needs
    one pass through the network for each dimension and transform.

    Arguments:
        kind: `spline` (rational quadratic, can have several modes) or `affine`.
        transforms: The number of autoregressive transforms, with alternating order of dimensions.
        hidden: The widths of the masked network of each transform.
        steps, patience, batch_size, lr: See `LearnedSampler`.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        kind: Literal["spline", "affine"] = "spline",
        transforms: int = 3,
        hidden: Sequence[int] = (128, 128),
        steps: int = 3000,
        patience: int = 1000,
        batch_size: int = 256,
        lr: float = 1e-3,
    ):
        super().__init__(temperature, steps, patience, batch_size, lr)
        check_at_least_one(transforms=transforms, hidden=min(hidden, default=1))
        self.family = {"spline": NSF, "affine": MAF}[kind]
        self.transforms, self.hidden = transforms, list(hidden)

    def build_network(self, latents: Tensor) -> nn.Module:
        return self.family(
            latents.shape[-1], transforms=self.transforms, hidden_features=self.hidden
        )

    def log_prob(self, latents: Tensor) -> Tensor:
        return self.network(None).log_prob(latents)

    def sample_standardized(self, n: int) -> Tensor:
        p = self.network(None)
        return p.transform.inv(self.temperature * p.base.sample(torch.Size([n])))
