"""The networks of models/ladder.py as residual convolutions: `model=ladder_conv`.

References: as models/ladder.py.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.models import base
from vaelab.models.base import activation_named
from vaelab.models.conv import downsample, halve_sizes, upsample
from vaelab.models.ladder import StochasticLayer, check_levels, scale_down
from vaelab.models.resnet import Residual, check_blocks


class Encoder(nn.Module):
    """Features of x: each level halves the picture, `channels` from x up."""

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64),
        blocks: int = 1,
        kernel_size: int = 4,
        activation: str = "SiLU",
        normalization: str = "batch",
    ):
        super().__init__()
        halve_sizes(shape, channels, kernel_size)
        check_blocks(blocks, normalization)
        self.steps = nn.ModuleList(
            nn.Sequential(
                downsample(here, there, kernel_size),
                *(Residual(there, activation, normalization) for _ in range(blocks)),
            )
            for here, there in pairwise([shape[0], *channels])
        )


class Decoder(base.Decoder):
    """The way down: in each level `groups` layers of z, pictures of its size.

    Arguments:
        latents: Channels of z in each level, from x up.
        groups: Stochastic layers of each level.

    Attributes:
        latents: The size of z in each layer, from the top down.
    """

    shared = True

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64),
        latents: Sequence[int] = (1, 2),
        groups: int = 1,
        blocks: int = 1,
        kernel_size: int = 4,
        activation: str = "SiLU",
        normalization: str = "batch",
    ):
        super().__init__()
        check_levels("model.channels", channels, latents, groups)
        check_blocks(blocks, normalization)
        sizes = halve_sizes(shape, channels, kernel_size)
        self.start = nn.Parameter(torch.zeros(channels[-1], *sizes[-1]))
        self.latents, layers = [], []
        for level in reversed(range(len(channels))):
            width, drawn, size = channels[level], latents[level], sizes[level + 1]
            for group in range(groups):
                below: list[nn.Module] = []
                below += [Residual(width, activation, normalization) for _ in range(blocks)]
                if group == groups - 1 and level > 0:
                    below.append(upsample(width, channels[level - 1], kernel_size, sizes[level]))
                self.latents.append(drawn * size[0] * size[1])
                layers.append(
                    StochasticLayer(
                        level,
                        prior=_parameters(width, drawn, activation),
                        posterior=nn.Sequential(
                            nn.Conv2d(2 * width, width, 3, padding=1),
                            Residual(width, activation, normalization),
                            _parameters(width, drawn, activation),
                        ),
                        merge=nn.Sequential(
                            nn.Unflatten(-1, (drawn, *size)), nn.Conv2d(drawn, width, 1)
                        ),
                        below=nn.Sequential(*below),
                    )
                )
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(
            activation_named(activation), upsample(channels[0], shape[0], kernel_size, sizes[0])
        )

    def forward(self, state: Tensor) -> Tensor:
        return self.head(state)

    @property
    def output(self) -> Any:
        return self.head[-1]


def _parameters(width: int, drawn: int, activation: str) -> nn.Module:
    """State (N, width, h, w) to the parameters (N, 2 drawn h w) of normals."""
    out = scale_down(nn.Conv2d(width, 2 * drawn, 3, padding=1))
    return nn.Sequential(activation_named(activation), out, nn.Flatten())
