"""A gated PixelCNN over the grid of codes: `prior=pixelcnn`, with posterior=vq.

References:
    Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016), section 2.1
    and figure 2, arXiv:1606.05328
    Neural Discrete Representation Learning (van den Oord et al., 2017), section 3.3,
    arXiv:1711.00937
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import pad

from vaelab.distributions.codebook import AutoregressiveIndices, codes_constraint
from vaelab.posteriors.base import Posterior
from vaelab.priors.base import Prior, check_at_least_one
from vaelab.priors.codes import count_codes


class PixelCNN(Prior):
    """p(z) = prod_i p(c_i | c_1 ... c_{i-1}), the codes c row by row of their grid.

    The grid is the picture's, made smaller; codes that have none are one row.

    Arguments:
        channels: Of every layer.
        layers: Each sees kernel_size // 2 codes further.
        kernel_size: Odd.
    """

    support = codes_constraint
    zeros: Tensor
    network: "PixelCNNNetwork"

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        channels: int = 64,
        layers: int = 5,
        kernel_size: int = 5,
    ):
        super().__init__(latent_dim, shape)
        check_at_least_one(channels=channels, layers=layers)
        if kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(f"prior.kernel_size={kernel_size}: it must be odd, at least 3")
        self.settings = channels, layers, kernel_size

    def prepare(self, posterior: Posterior) -> None:
        count, size = count_codes(posterior, self.latent_dim)
        self.grid = grid_shape(self.shape, count)
        self.network = PixelCNNNetwork(size, *self.settings)
        self.register_buffer("zeros", torch.zeros(count), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> AutoregressiveIndices:
        return AutoregressiveIndices(self.logits, self.zeros)

    def logits(self, indices: Tensor) -> Tensor:
        """Indices (B, n) to (B, n, K)."""
        return self.network(indices.unflatten(-1, self.grid)).flatten(2).transpose(1, 2)


def grid_shape(shape: Sequence[int], count: int) -> tuple[int, int]:
    """Rows and columns of `count` codes: the picture's divided by one number, else one row."""
    if len(shape) == 3:
        height, width = shape[1:]
        factor = math.isqrt(height * width // count)
        fits = factor and height % factor == width % factor == 0
        if fits and height * width == count * factor**2:
            return height // factor, width // factor
    return 1, count


class PixelCNNNetwork(nn.Module):
    """Indices (B, H, W) to logits (B, K, H, W), those at a place from the places before it."""

    def __init__(self, size: int, channels: int, layers: int, kernel_size: int):
        super().__init__()
        self.embedding = nn.Embedding(size, channels)
        self.layers = nn.ModuleList(
            GatedLayer(channels, kernel_size, first=i == 0) for i in range(layers)
        )
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, size, 1)
        )

    def forward(self, indices: Tensor) -> Tensor:
        above = before = self.embedding(indices).movedim(-1, 1)
        for layer in self.layers:
            above, before = layer(above, before)
        return self.head(before)


class GatedLayer(nn.Module):
    """Two stacks (B, C, H, W), of which none sees a place that comes later.

    `above` knows its own row and those above it, of any column, and gives what it knows to the row
    below, so that nothing above is out of sight. `before` knows the places before its own and, but
    for the first layer, its own, which then holds only what it was told.
    """

    def __init__(self, channels: int, kernel_size: int, first: bool):
        super().__init__()
        self.reach, self.first = kernel_size // 2, first
        self.above = nn.Conv2d(channels, 2 * channels, (self.reach + 1, kernel_size))
        self.before = nn.Conv2d(channels, 2 * channels, (1, self.reach + (0 if first else 1)))
        self.down = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, above: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.above(pad(above, (self.reach, self.reach, self.reach, 0)))
        shifted = pad(seen, (0, 0, 1, 0))[:, :, :-1]
        row = self.before(pad(before, (self.reach, 0, 0, 0)))
        if self.first:
            row = row[..., :-1]
        told = self.out(_gate(row + self.down(shifted)))
        return _gate(seen), told if self.first else before + told


def _gate(x: Tensor) -> Tensor:
    """tanh(a) s(b) of the two halves of the channels."""
    a, b = x.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()
