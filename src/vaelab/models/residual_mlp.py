"""Residual fully connected layers: `model=residual_mlp`.

References:
    Identity Mappings in Deep Residual Networks (He et al., 2016), arXiv:1603.05027
    Layer Normalization (Ba et al., 2016), arXiv:1607.06450
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from vaelab.models.base import FlatDecoder, activation_named, check_sizes


class Encoder(nn.Module):
    """Flattens x, a layer of `width` units, `blocks` residual blocks, and a linear map.

    Arguments:
        dropout: The probability that a unit inside a block is left out of a training step.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        width: int = 500,
        blocks: int = 2,
        activation: str = "SiLU",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.layers = _layers(math.prod(shape), width, blocks, outputs, activation, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))


class Decoder(FlatDecoder):
    """The same from z to the pixels."""

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        width: int = 500,
        blocks: int = 2,
        activation: str = "SiLU",
        dropout: float = 0.0,
    ):
        layers = _layers(latent_dim, width, blocks, math.prod(shape), activation, dropout)
        super().__init__(shape, layers)


class Residual(nn.Module):
    """h + W act(V norm(h)), at its start h itself."""

    def __init__(self, width: int, activation: str, dropout: float):
        super().__init__()
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        inside = [nn.LayerNorm(width), nn.Linear(width, width), activation_named(activation)]
        self.change = nn.Sequential(*inside, nn.Dropout(dropout), last)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.change(h)


def _layers(
    inputs: int, width: int, blocks: int, outputs: int, activation: str, dropout: float
) -> nn.Sequential:
    check_sizes("model.width", [width])
    check_sizes("model.blocks", [blocks])
    inside = [Residual(width, activation, dropout) for _ in range(blocks)]
    last = [nn.LayerNorm(width), activation_named(activation), nn.Linear(width, outputs)]
    return nn.Sequential(nn.Linear(inputs, width), *inside, *last)
