"""The networks of prior=flow_matching and prior=diffusion, for vectors and for grids of latents."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from vaelab.distributions.grid import grid_to_vector, vector_to_grid

MAX_FREQUENCY = 100.0  # of the embedding of t, in radians for t from 0 to 1
EMBEDDED_FREQUENCIES = 64
CONDITION_WIDTH = 128  # of the embedding of t and y in an MLP
MIN_EDGE = 4  # a U-Net halves grids while their edges stay at least this long
GROUPS = 8  # of group normalization, at most


class ConditionEmbedding(nn.Module):
    """Embeds the time t and an optional class y as a vector that scales and shifts features.

    Arguments:
        width: The length of the vector.
        classes: The number of classes; 0 for a network without classes. Class number `classes`
            stands for an unknown class.
    """

    frequencies: Tensor

    def __init__(self, width: int, classes: int):
        super().__init__()
        exponents = torch.linspace(0, 1, EMBEDDED_FREQUENCIES)
        self.register_buffer("frequencies", MAX_FREQUENCY**exponents, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * EMBEDDED_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.classes = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, t: Tensor, y: Tensor | None) -> Tensor:
        """Compute the vectors (B, width) of t (B,) or (1,), and of classes y (B,) or None."""
        angles = t.unsqueeze(-1) * self.frequencies
        vector = self.layers(torch.cat([angles.sin(), angles.cos()], -1))
        return silu(vector if self.classes is None else vector + self.classes(y))


class VectorNetwork(nn.Module):
    """A residual MLP that maps vectors u (B, D), t and y to (B, D); 0 before training.

    Arguments:
        size: The length D.
        width: The width of every layer.
        blocks: The number of residual blocks.
        classes: See `ConditionEmbedding`.
    """

    def __init__(self, size: int, width: int, blocks: int, classes: int = 0):
        super().__init__()
        self.condition = ConditionEmbedding(CONDITION_WIDTH, classes)
        self.inside = nn.Linear(size, width)
        self.blocks = nn.ModuleList(VectorBlock(width) for _ in range(blocks))
        self.normalization = nn.LayerNorm(width)
        self.output = _zero(nn.Linear(width, size))

    def forward(self, u: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        condition, features = self.condition(t, y), self.inside(u)
        for block in self.blocks:
            features = block(features, condition)
        return self.output(silu(self.normalization(features)))


class VectorBlock(nn.Module):
    """h + W_2 silu(W_1 (norm(h) (1 + a) + b)), with a and b linear in the condition."""

    def __init__(self, width: int):
        super().__init__()
        self.normalization = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(CONDITION_WIDTH, 2 * width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulation(condition).chunk(2, -1)
        return features + self.layers(self.normalization(features) * (1 + scale) + shift)


class GridNetwork(nn.Module):
    """A U-Net that maps vectors u (B, c h w) of grids, t and y to (B, c h w); 0 before training.

    The grid is halved while both edges are even and stay at least 4 long, with twice the channels
    at each halving. Self-attention in the smallest grid connects all positions.

    Arguments:
        grid: The shape (c, h, w).
        channels: The number of channels at the largest grid.
        blocks: The number of residual blocks at each size of the grid, on the way down and up.
        classes: See `ConditionEmbedding`.

    References:
        U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., 2015),
        arXiv:1505.04597
        Denoising Diffusion Probabilistic Models (Ho et al., 2020), appendix B, for the residual
        blocks and the attention, arXiv:2006.11239
    """

    def __init__(self, grid: Sequence[int], channels: int, blocks: int, classes: int = 0):
        super().__init__()
        self.grid = tuple(grid)
        size, *edges = self.grid
        widths = [channels * 2**level for level in range(count_halvings(edges) + 1)]
        width = 4 * channels
        self.condition = ConditionEmbedding(width, classes)
        self.inside = nn.Conv2d(size, channels, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept, current = [], channels
        for level, wide in enumerate(widths):
            if level:
                self.down.append(nn.Conv2d(current, wide, 3, stride=2, padding=1))
                current = wide
            for _ in range(blocks):
                self.down.append(GridBlock(current, wide, width))
                kept.append(wide)
        self.middle = nn.ModuleList(
            [
                GridBlock(current, current, width),
                Attention(current),
                GridBlock(current, current, width),
            ]
        )
        for level, wide in reversed(list(enumerate(widths))):
            for _ in range(blocks):
                self.up.append(GridBlock(current + kept.pop(), wide, width))
                current = wide
            if level:
                self.up.append(Doubled(current, widths[level - 1]))
                current = widths[level - 1]
        self.normalization = nn.GroupNorm(_count_groups(current), current)
        self.output = _zero(nn.Conv2d(current, size, 3, padding=1))

    def forward(self, u: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        condition = self.condition(t, y)
        features, kept = self.inside(vector_to_grid(u, self.grid)), []
        for layer in self.down:
            if isinstance(layer, GridBlock):
                features = layer(features, condition)
                kept.append(features)
            else:
                features = layer(features)
        for layer in self.middle:
            features = layer(features, condition)
        for layer in self.up:
            if isinstance(layer, GridBlock):
                features = torch.cat([features, kept.pop()], 1)
            features = layer(features, condition)
        return grid_to_vector(self.output(silu(self.normalization(features))), self.grid)


class GridBlock(nn.Module):
    """Two convolutions with group normalization, whose features the condition scales and shifts."""

    def __init__(self, inputs: int, outputs: int, width: int):
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(_count_groups(inputs), inputs),
            nn.SiLU(),
            nn.Conv2d(inputs, outputs, 3, padding=1),
        )
        self.modulation = nn.Linear(width, 2 * outputs)
        self.normalization = nn.GroupNorm(_count_groups(outputs), outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulation(condition)[..., None, None].chunk(2, 1)
        inside = self.normalization(self.first(features)) * (1 + scale) + shift
        return self.shortcut(features) + self.second(silu(inside))


class Attention(nn.Module):
    """Self-attention with one head between all positions of a grid, added to the features."""

    def __init__(self, channels: int):
        super().__init__()
        self.normalization = nn.GroupNorm(_count_groups(channels), channels)
        self.inside = nn.Conv2d(channels, 3 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        query, key, value = self.inside(self.normalization(features)).flatten(2).chunk(3, 1)
        weights = (query.transpose(1, 2) @ key / math.sqrt(key.shape[1])).softmax(-1)
        mixed = (value @ weights.transpose(1, 2)).unflatten(-1, features.shape[2:])
        return features + self.output(mixed)


class Doubled(nn.Module):
    """Doubles the edges of a grid, and applies a convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1)
        )

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        return self.layers(features)


def count_halvings(edges: Sequence[int]) -> int:
    """Return how often edges are even and can be halved to at least MIN_EDGE."""
    halvings, edges = 0, list(edges)
    while all(edge % 2 == 0 and edge // 2 >= MIN_EDGE for edge in edges):
        edges, halvings = [edge // 2 for edge in edges], halvings + 1
    return halvings


def _count_groups(channels: int) -> int:
    """Return the largest number of groups up to GROUPS that divides the channels."""
    return max(groups for groups in range(1, GROUPS + 1) if channels % groups == 0)


def _zero(layer: Any) -> Any:
    """Set all weights of a layer to 0, and return it."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
