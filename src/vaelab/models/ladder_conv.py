"""Residual convolutions for the hierarchy of models/ladder.py: `model=ladder_conv`.

References: see models/ladder.py.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.models import base
from vaelab.models.base import build_activation
from vaelab.models.conv import compute_halved_sizes, make_downsampling_conv, make_upsampling_conv
from vaelab.models.ladder import StochasticLayer, check_levels, scale_down_weights
from vaelab.models.resnet import ResidualBlock, check_blocks
from vaelab.models.spatial import make_conv


class Encoder(nn.Module):
    """Residual convolutions that compute the features of x; each level halves the size.

    Arguments:
        channels: The channels of each level, from x up.
        blocks: The number of residual blocks in each level.
    """

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
        dims = len(shape) - 1
        compute_halved_sizes(shape, channels, kernel_size)
        check_blocks(blocks, normalization)
        self.steps = nn.ModuleList(
            nn.Sequential(
                make_downsampling_conv(dims, inputs, width, kernel_size),
                *(ResidualBlock(dims, width, activation, normalization) for _ in range(blocks)),
            )
            for inputs, width in pairwise([shape[0], *channels])
        )


class Decoder(base.Decoder):
    """The stochastic layers from the top down, and a transposed convolution from the state to x.

    The latents of a layer are feature maps with the spatial size of its level.

    Arguments:
        channels: The channels of the state in each level, from x up.
        latents: The channels of z_l in each level, from x up.
        groups: The number of stochastic layers in each level.
        blocks: The number of residual blocks after each stochastic layer.

    Attributes:
        latents: The size of z_l in each layer, from the top down.
    """

    bias_per_channel = True

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
        dims = len(shape) - 1
        sizes = compute_halved_sizes(shape, channels, kernel_size)
        self.start = nn.Parameter(torch.zeros(channels[-1], *sizes[-1]))
        self.latents, layers = [], []
        for level in reversed(range(len(channels))):
            width, latent_channels = channels[level], latents[level]
            size = sizes[level + 1]
            for group in range(groups):
                below: list[nn.Module] = []
                below += [
                    ResidualBlock(dims, width, activation, normalization) for _ in range(blocks)
                ]
                if group == groups - 1 and level > 0:
                    below.append(
                        make_upsampling_conv(width, channels[level - 1], kernel_size, sizes[level])
                    )
                self.latents.append(latent_channels * math.prod(size))
                layers.append(
                    StochasticLayer(
                        level,
                        prior=_make_parameter_head(dims, width, latent_channels, activation),
                        posterior=nn.Sequential(
                            make_conv(dims, 2 * width, width, 3, padding=1),
                            ResidualBlock(dims, width, activation, normalization),
                            _make_parameter_head(dims, width, latent_channels, activation),
                        ),
                        merge=nn.Sequential(
                            nn.Unflatten(-1, (latent_channels, *size)),
                            make_conv(dims, latent_channels, width, 1),
                        ),
                        below=nn.Sequential(*below),
                    )
                )
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(
            build_activation(activation),
            make_upsampling_conv(channels[0], shape[0], kernel_size, sizes[0]),
        )

    def forward(self, state: Tensor) -> Tensor:
        return self.head(state)

    @property
    def output(self) -> Any:
        return self.head[-1]


class LatentSize:
    """Computes latent_dim, the number of latents of all layers, from the shape of x.

    Arguments:
        channels, latents, groups, kernel_size: As in `Decoder`.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        latents: Sequence[int] = (1, 2),
        groups: int = 1,
        kernel_size: int = 4,
    ):
        check_levels("model.channels", channels, latents, groups)
        self.channels, self.latents = channels, latents
        self.groups, self.kernel_size = groups, kernel_size

    def __call__(self, shape: Sequence[int]) -> int:
        sizes = compute_halved_sizes(shape, self.channels, self.kernel_size)[1:]
        levels = zip(self.latents, sizes, strict=True)
        return self.groups * sum(count * math.prod(size) for count, size in levels)


def _make_parameter_head(dims: int, width: int, latent_channels: int, activation: str) -> nn.Module:
    """Build a network from the state (N, width, ...) to parameters (N, 2 latent_channels ...)."""
    out = scale_down_weights(make_conv(dims, width, 2 * latent_channels, 3, padding=1))
    return nn.Sequential(build_activation(activation), out, nn.Flatten())
