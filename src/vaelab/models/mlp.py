"""Fully connected networks: `model=mlp`.

Reference: Auto-Encoding Variational Bayes (Kingma and Welling, 2014), appendix C, arXiv:1312.6114
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vaelab.models.base import FlatDecoder, build_activation, check_sizes


class Encoder(nn.Module):
    """A multilayer perceptron on the flattened x.

    Arguments:
        hidden: The width of each hidden layer; [] gives a linear map.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        hidden: Sequence[int] = (400,),
        activation: str = "ReLU",
    ):
        super().__init__()
        self.layers = _build_layers([math.prod(shape), *hidden, outputs], activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))


class Decoder(FlatDecoder):
    """A multilayer perceptron from z to all pixels, the mirror image of the encoder.

    Arguments:
        hidden: The widths of the encoder; the decoder reverses them.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        hidden: Sequence[int] = (400,),
        activation: str = "ReLU",
    ):
        layers = _build_layers([latent_dim, *reversed(hidden), math.prod(shape)], activation)
        super().__init__(shape, layers)


def _build_layers(sizes: list[int], activation: str) -> nn.Sequential:
    check_sizes("model.hidden", sizes[1:-1])
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), build_activation(activation)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))
