"""Residual fully connected networks: `model=residual_mlp`.

References:
    Identity Mappings in Deep Residual Networks (He et al., 2016), arXiv:1603.05027
    Layer Normalization (Ba et al., 2016), arXiv:1607.06450
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from vaelab.models.base import FlatDecoder, build_activation, check_sizes


class Encoder(nn.Module):
    """Residual blocks on the flattened x, between two linear layers.

    Arguments:
        width: The number of units of each layer.
        blocks: The number of residual blocks.
        dropout: The dropout probability inside each block.
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
        self.layers = _build_layers(math.prod(shape), width, blocks, outputs, activation, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))


class Decoder(FlatDecoder):
    """Residual blocks from z to all pixels, with the arguments of the encoder."""

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        width: int = 500,
        blocks: int = 2,
        activation: str = "SiLU",
        dropout: float = 0.0,
    ):
        layers = _build_layers(latent_dim, width, blocks, math.prod(shape), activation, dropout)
        super().__init__(shape, layers)


class ResidualBlock(nn.Module):
    """A residual block, h + W dropout(act(V norm(h))); before training it is the identity."""

    def __init__(self, width: int, activation: str, dropout: float):
        super().__init__()
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        inside = [nn.LayerNorm(width), nn.Linear(width, width), build_activation(activation)]
        self.change = nn.Sequential(*inside, nn.Dropout(dropout), last)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.change(h)


def _build_layers(
    inputs: int, width: int, blocks: int, outputs: int, activation: str, dropout: float
) -> nn.Sequential:
    check_sizes("model.width", [width])
    check_sizes("model.blocks", [blocks])
    inside = [ResidualBlock(width, activation, dropout) for _ in range(blocks)]
    last = [nn.LayerNorm(width), build_activation(activation), nn.Linear(width, outputs)]
    return nn.Sequential(nn.Linear(inputs, width), *inside, *last)
