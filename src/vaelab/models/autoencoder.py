"""The KL autoencoder of latent diffusion, with a grid of latents: `model=autoencoder`.

The layers and their names are those of AutoencoderKL in the package diffusers, so that every weight
has its counterpart there: see inference/diffusers_folder.py.

Reference: High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022),
section 3.1, arXiv:2112.10752
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention, silu

from vaelab.distributions.grid import grid_to_vector, vector_to_grid
from vaelab.models import base
from vaelab.models.base import check_sizes
from vaelab.models.spatial import format_size
from vaelab.runtime.errors import UserError

EPSILON = 1e-6  # of the group normalizations
MAX_HALVINGS = 4  # a factor of 16


class Encoder(nn.Module):
    """Residual blocks that halve an image between two levels, and attention at the end.

    Pixels x in [0, 1] enter the first convolution as 2 x - 1. The output holds the parameters of
    q(z|x) one after another, such as all means and then all log variances. Each is a vector in the
    order of distributions/grid.py.

    Arguments:
        shape: The shape (C, H, W) of one x.
        outputs: The number of outputs, a multiple of the number of latents.
        latents: The channels c of z, which has c x H/f x W/f numbers with f = 2^(levels - 1).
        channels: The channels of each level, from x down.
        layers: The number of residual blocks in each level; the decoder has one more.
        groups: The largest number of groups of a group normalization. The number that is used also
            divides the channels of every level.

    Raises:
        UserError: If x is no image, or the factor f does not divide its size.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        latents: int = 4,
        channels: Sequence[int] = (32, 64, 64),
        layers: int = 1,
        groups: int = 32,
    ):
        super().__init__()
        check_sizes("model.layers", [layers])
        self.maps_shape = (latents, *compute_grid(shape, channels))
        self.parameters_per_latent, rest = divmod(outputs, math.prod(self.maps_shape))
        if rest or not outputs:
            raise UserError(
                f"model=autoencoder has {format_size(self.maps_shape)} latents, and the "
                f"{outputs} parameters of q(z|x) cannot be divided equally among them: leave "
                "latent_dim out, and set model.latents and posterior=clamped, diagonal or vq"
            )
        width, maps = channels[-1], self.parameters_per_latent * latents
        groups = count_groups(channels, groups)
        self.conv_in = nn.Conv2d(shape[0], channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            DownBlock(inputs, outputs, layers, groups, is_last=level == len(channels) - 1)
            for level, (inputs, outputs) in enumerate(pairwise([channels[0], *channels]))
        )
        self.mid_block = MiddleBlock(width, groups)
        self.conv_norm_out = nn.GroupNorm(groups, width, EPSILON)
        self.conv_out = nn.Conv2d(width, maps, 3, padding=1)
        self.quant_conv = nn.Conv2d(maps, maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(2 * x - 1)
        for block in self.down_blocks:
            h = block(h)
        h = self.conv_out(silu(self.conv_norm_out(self.mid_block(h))))
        maps = self.quant_conv(h).unflatten(1, (self.parameters_per_latent, -1))
        return grid_to_vector(maps, self.maps_shape).flatten(1)


class Decoder(base.Decoder):
    """Attention, and residual blocks that double the size between two levels.

    Arguments:
        latent_dim: The number of latents.
        shape: The shape (outputs, H, W) of the parameters of p(x|z).
        channels, layers, groups: As in `Encoder`.

    Raises:
        UserError: If x is no image, or the factor f does not divide its size.
    """

    bias_per_channel = True

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64, 64),
        layers: int = 1,
        groups: int = 32,
    ):
        super().__init__()
        check_sizes("model.layers", [layers])
        grid = compute_grid(shape, channels)
        latents, rest = divmod(latent_dim, math.prod(grid))
        if rest or not latents:
            raise UserError(
                f"latent_dim={latent_dim} cannot be divided equally among the {format_size(grid)} "
                "positions of model=autoencoder: leave latent_dim out, and set model.latents"
            )
        self.maps_shape = (latents, *grid)
        levels, groups = channels[::-1], count_groups(channels, groups)
        self.post_quant_conv = nn.Conv2d(latents, latents, 1)
        self.conv_in = nn.Conv2d(latents, levels[0], 3, padding=1)
        self.mid_block = MiddleBlock(levels[0], groups)
        self.up_blocks = nn.ModuleList(
            UpBlock(inputs, outputs, layers + 1, groups, is_last=level == len(levels) - 1)
            for level, (inputs, outputs) in enumerate(pairwise([levels[0], *levels]))
        )
        self.conv_norm_out = nn.GroupNorm(groups, levels[-1], EPSILON)
        self.conv_out = nn.Conv2d(levels[-1], shape[0], 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        maps = vector_to_grid(z, self.maps_shape)
        h = self.mid_block(self.conv_in(self.post_quant_conv(maps)))
        for block in self.up_blocks:
            h = block(h)
        return self.conv_out(silu(self.conv_norm_out(h)))

    @property
    def output(self) -> Any:
        return self.conv_out

    def check_codes(self, size: int, setting: str = "posterior.dim") -> None:
        latents, *grid = self.maps_shape
        if latents % size:
            raise UserError(
                f"model.latents={latents} at each of the {format_size(grid)} positions is not a "
                f"multiple of {setting}={size} (the length of a code): set model.latents={size}"
            )


class LatentSize:
    """Computes latent_dim, the number of latents, from the shape of x.

    Arguments:
        latents, channels: As in `Encoder`.
    """

    def __init__(self, latents: int = 4, channels: Sequence[int] = (32, 64, 64)):
        check_sizes("model.latents", [latents])
        self.latents, self.channels = latents, channels

    def __call__(self, shape: Sequence[int]) -> int:
        return self.latents * math.prod(self.compute_grid(shape))

    def compute_grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Compute the size of the grid of latents of an x of this shape."""
        return compute_grid(shape, self.channels)


class ResidualBlock(nn.Module):
    """x + two times group normalization, SiLU and a 3x3 convolution.

    x passes a 1x1 convolution if the number of channels changes.
    """

    def __init__(self, inputs: int, outputs: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, EPSILON)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outputs, EPSILON)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(silu(self.norm1(x)))
        h = self.conv2(silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """x + self-attention with one head between all positions of the normalized x."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, EPSILON)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        h = self.group_norm(x).flatten(2).mT.unsqueeze(1)  # a head, which the ONNX export needs
        h = scaled_dot_product_attention(self.to_q(h), self.to_k(h), self.to_v(h))
        return x + self.to_out[0](h).squeeze(1).mT.unflatten(2, x.shape[2:])


class MiddleBlock(nn.Module):
    """A residual block, attention, and a residual block."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(channels, channels, groups) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels, groups)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class DownBlock(nn.Module):
    """Residual blocks, and a convolution that halves the size unless it is the last level."""

    def __init__(self, inputs: int, outputs: int, layers: int, groups: int, is_last: bool):
        super().__init__()
        self.resnets = _make_residual_blocks(inputs, outputs, layers, groups)
        self.downsamplers = nn.ModuleList([] if is_last else [Downsampler(outputs)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x)
        return x


class UpBlock(nn.Module):
    """Residual blocks, and a doubling of the size unless it is the last level."""

    def __init__(self, inputs: int, outputs: int, layers: int, groups: int, is_last: bool):
        super().__init__()
        self.resnets = _make_residual_blocks(inputs, outputs, layers, groups)
        self.upsamplers = nn.ModuleList([] if is_last else [Upsampler(outputs)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.resnets, *self.upsamplers):
            x = layer(x)
        return x


class Downsampler(nn.Module):
    """A 3x3 convolution with stride 2, padded by zeros on the right and at the bottom."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, (0, 1, 0, 1)))


class Upsampler(nn.Module):
    """Every pixel four times, and a 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))


def count_groups(channels: Sequence[int], most: int) -> int:
    """Return the largest number of groups, at most `most`, that divides every number of channels.

    Raises:
        UserError: If `most` is below 1.
    """
    check_sizes("model.groups", [most])
    common = math.gcd(*channels)
    return next(count for count in range(min(most, common), 0, -1) if common % count == 0)


def compute_grid(shape: Sequence[int], channels: Sequence[int]) -> tuple[int, int]:
    """Compute the size (H/f, W/f) of the grid of latents, with f = 2^(levels - 1).

    Raises:
        UserError: If x is no image, f is not 2, 4, 8 or 16, or f does not divide the size of x.
    """
    check_sizes("model.channels", list(channels))
    if not 1 <= len(channels) - 1 <= MAX_HALVINGS:
        raise UserError(
            f"model.channels={list(channels)} has {len(channels)} levels, between which an image "
            f"is halved: name 2 to {MAX_HALVINGS + 1} numbers, as in [32,64,64] for a factor of 4"
        )
    if len(shape) != 3:
        raise UserError(
            f"model=autoencoder needs images (C, H, W), but data.shape={list(shape)}: use "
            "model=conv for series and volumes, and model=mlp for tables"
        )
    factor, size = 2 ** (len(channels) - 1), shape[1:]
    if any(edge % factor for edge in size):
        nearest = " or ".join(dict.fromkeys(_list_nearest_sizes(size, factor)))
        raise UserError(
            f"model.channels={list(channels)} divides the size of an image by {factor}, which "
            f"does not divide {format_size(size)}: resize the images to {nearest} (data.shape), or "
            "name fewer channels"
        )
    return size[0] // factor, size[1] // factor


def _list_nearest_sizes(size: Sequence[int], factor: int) -> Iterator[str]:
    """Yield the next smaller and the next larger size whose edges `factor` divides."""
    if min(size) >= factor:
        yield format_size([edge // factor * factor for edge in size])
    yield format_size([-(-edge // factor) * factor for edge in size])


def _make_residual_blocks(inputs: int, outputs: int, layers: int, groups: int) -> nn.ModuleList:
    """Make residual blocks, of which the first changes the number of channels."""
    return nn.ModuleList(
        ResidualBlock(inputs if layer == 0 else outputs, outputs, groups) for layer in range(layers)
    )
