"""A gated PixelCNN over a grid of codebook indices: `prior=pixelcnn`, for one codebook.

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

from vaelab.distributions.codebook import AutoregressiveIndices, codebook_constraint
from vaelab.posteriors.base import Posterior
from vaelab.priors.base import Prior, check_at_least_one
from vaelab.priors.codes import get_book_count, get_code_counts
from vaelab.runtime.errors import UserError


class PixelCNN(Prior):
    """The autoregressive prior p(c) = prod_i p(c_i | c_1 ... c_{i-1}) over codebook indices c.

    The indices are ordered row by row in a grid, which `compute_grid_shape` derives from the shape
    of x and the number of codes. The slices of a volume lie below one another in this grid.

    Arguments:
        latent_dim: The length of z.
        shape: The shape of one x.
        channels: The number of channels of every layer.
        layers: The number of layers. Each extends the receptive field by kernel_size // 2.
        kernel_size: The kernel size, an odd number of at least 3.

    Raises:
        UserError: If channels, layers or kernel_size is out of range, or if there are several
            codebooks.
    """

    support = codebook_constraint
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
            raise UserError(f"prior.kernel_size={kernel_size}: it must be odd and at least 3")
        self.settings = channels, layers, kernel_size

    def prepare(self, posterior: Posterior) -> None:
        count, size = get_code_counts(posterior, self.latent_dim)
        if get_book_count(posterior) > 1:
            raise UserError(
                f"prior=pixelcnn is for one codebook, but {type(posterior).__name__} has "
                f"{get_book_count(posterior)}: set prior=transformer"
            )
        self.grid = compute_grid_shape(self.shape, count)
        self.network = PixelCNNNetwork(size, *self.settings)
        self.register_buffer("zeros", torch.zeros(count), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> AutoregressiveIndices:
        return AutoregressiveIndices(self.logits, self.zeros)

    def logits(self, indices: Tensor) -> Tensor:
        """Compute the logits (B, n, K) of p(c_i | c_1 ... c_{i-1}) for indices c (B, n)."""
        return self.network(indices.unflatten(-1, self.grid)).flatten(2).transpose(1, 2)


def compute_grid_shape(shape: Sequence[int], count: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of a grid of `count` codes.

    If an integer k divides every spatial size of x and leaves `count` positions, they are H / k and
    W / k for images (C, H, W), and D / k times H / k and W / k for volumes (C, D, H, W). Otherwise,
    and for series, all codes form one row.
    """
    size = shape[1:]
    if len(size) > 1:
        factor = round((math.prod(size) / count) ** (1 / len(size)))
        if factor and not any(edge % factor for edge in size):
            *above, columns = (edge // factor for edge in size)
            if math.prod(above) * columns == count:
                return math.prod(above), columns
    return 1, count


class PixelCNNNetwork(nn.Module):
    """The network of a PixelCNN.

    It maps indices (B, H, W) to logits (B, K, H, W). The logits of a position depend only on the
    preceding positions, in row-major order.
    """

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
    """A layer of gated masked convolutions on two stacks of features (B, C, H, W).

    The vertical stack `above` sees its own row and the rows above it, in all columns. It is shifted
    down by one row and added to the horizontal stack, so that the receptive field has no blind
    spot. The horizontal stack `before` sees the preceding positions of its own row. From the second
    layer on it also sees its own position, whose features then depend only on preceding positions.
    """

    def __init__(self, channels: int, kernel_size: int, first: bool):
        super().__init__()
        self.reach, self.first = kernel_size // 2, first
        self.above = nn.Conv2d(channels, 2 * channels, (self.reach + 1, kernel_size))
        self.before = nn.Conv2d(channels, 2 * channels, (1, self.reach + (0 if first else 1)))
        self.down = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, above: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        vertical = self.above(pad(above, (self.reach, self.reach, self.reach, 0)))
        shifted = pad(vertical, (0, 0, 1, 0))[:, :, :-1]
        horizontal = self.before(pad(before, (self.reach, 0, 0, 0)))
        if self.first:
            horizontal = horizontal[..., :-1]
        update = self.out(_gate(horizontal + self.down(shifted)))
        return _gate(vertical), update if self.first else before + update


def _gate(x: Tensor) -> Tensor:
    """Compute tanh(a) s(b) for the two halves a, b of the channels, with the sigmoid s."""
    a, b = x.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()
