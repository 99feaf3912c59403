"""Residual convolutions: `model=resnet`.

Reference: Identity Mappings in Deep Residual Networks (He et al., 2016), arXiv:1603.05027
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from vaelab.models import base
from vaelab.models.base import activation_named, check_sizes
from vaelab.models.conv import downsample, halve_sizes, upsample

NORMALIZATIONS = ("batch", "group", "none")


class Encoder(nn.Module):
    """Halves the image once per number in `channels`, each time with `blocks` residual blocks.

    Arguments:
        channels: Of each halving, as in models/conv.py.
        normalization: batch | group (8 groups, or as many as divide the channels) | none.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int] = (32, 64),
        blocks: int = 2,
        kernel_size: int = 4,
        activation: str = "SiLU",
        normalization: str = "batch",
    ):
        super().__init__()
        sizes = halve_sizes(shape, channels, kernel_size)
        check_blocks(blocks, normalization)
        stages: list[nn.Module] = []
        for here, there in pairwise([shape[0], *channels]):
            stages.append(downsample(here, there, kernel_size))
            stages += [Residual(there, activation, normalization) for _ in range(blocks)]
        stages += [normalize(normalization, channels[-1]), activation_named(activation)]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels[-1] * math.prod(sizes[-1]), outputs)

    def forward(self, x: Tensor) -> Tensor:
        # The channels of a pixel lie together in memory: flattened as they lie, nothing is moved.
        return self.head(self.stages(x).movedim(1, -1).flatten(1))


class Decoder(base.Decoder):
    """The encoder turned around: `channels` is read from its end."""

    shared = True

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64),
        blocks: int = 2,
        kernel_size: int = 4,
        activation: str = "SiLU",
        normalization: str = "batch",
    ):
        super().__init__()
        sizes = halve_sizes(shape, channels, kernel_size)
        check_blocks(blocks, normalization)
        self.inside = (*sizes[-1], channels[-1])
        self.head = nn.Linear(latent_dim, math.prod(self.inside))
        widths = pairwise([*reversed(channels), shape[0]])
        stages: list[nn.Module] = []
        for (here, there), size in zip(widths, reversed(sizes[:-1]), strict=True):
            stages += [Residual(here, activation, normalization) for _ in range(blocks)]
            stages += [normalize(normalization, here), activation_named(activation)]
            stages.append(upsample(here, there, kernel_size, size))
        self.stages = nn.Sequential(*stages)

    def forward(self, z: Tensor) -> Tensor:
        return self.stages(self.head(z).unflatten(-1, self.inside).movedim(-1, 1))

    @property
    def output(self) -> Any:
        return self.stages[-1]


class Residual(nn.Module):
    """h + conv(act(norm(conv(act(norm(h)))))), at its start h itself."""

    def __init__(self, channels: int, activation: str, normalization: str):
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [normalize(normalization, channels), activation_named(activation)]
            layers.append(nn.Conv2d(channels, channels, 3, padding=1))
        last: Any = layers[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.change = nn.Sequential(*layers)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.change(h)


def normalize(name: str, channels: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Identity()


def check_blocks(blocks: int, normalization: str) -> None:
    check_sizes("model.blocks", [blocks])
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"model.normalization={normalization}: choose from {', '.join(NORMALIZATIONS)}"
        )
