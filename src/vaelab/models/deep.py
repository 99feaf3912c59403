"""A top-down VAE of many stochastic layers over several resolutions: `model=deep`.

References:
    Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images (Child, 2021),
    section 3 and figure 3, arXiv:2011.10650
    NVAE: A Deep Hierarchical Variational Autoencoder (Vahdat and Kautz, 2020), equation 2 (q as a
    difference from p), arXiv:2007.03898
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.checkpoint import checkpoint

from vaelab.models import base
from vaelab.models.base import build_activation, check_sizes
from vaelab.models.conditional import LabelledVAE
from vaelab.models.conv import make_upsampling_conv
from vaelab.models.ladder import Ladder, StochasticLayer
from vaelab.models.resnet import build_normalization, check_blocks
from vaelab.models.spatial import NOUNS, check_is_spatial, format_size, make_conv
from vaelab.runtime.errors import UserError

Layers = Mapping[int, int] | None  # the number of stochastic layers, by the height of their map
PerHeight = int | Mapping[int, int]  # one number for all heights, or a number for each
MAX_LAYERS = 1000
LATENTS_PER_LAYER = 100  # about, unless model.latents chooses the channels


class Deep(LabelledVAE, Ladder):
    """A top-down hierarchy of many layers, whose latents are maps of several resolutions.

    The joint densities are those of `Ladder`. A state starts as a learned constant, and in each
    layer l the networks do

        (parameters of p(z_l), u) = prior(state),   state <- state + u
        parameters of q(z_l) = parameters of p(z_l) + posterior(state, features of x)
        state <- blocks(state + merge(z_l))

    Between two heights the state is upsampled to the nearest neighbour and gets a learned bias.

    Arguments:
        labels: The number of classes or attributes that p(x, z) and q are conditioned on, or None.
            A linear map of the label is added to the first state, which all layers depend on.
        checkpointing: If True, the backward pass recomputes the activations inside each network,
            instead of storing them, which takes less memory and more time.

    Raises:
        UserError: If checkpointing is combined with batch normalization, whose statistics would
            count each batch twice.
    """

    def __init__(self, *, labels: int | None = None, checkpointing: bool = False, **parts: Any):
        self.checkpointing = checkpointing
        super().__init__(labels=labels, **parts)
        if checkpointing and any("BatchNorm" in type(part).__name__ for part in self.modules()):
            raise UserError(
                "model.checkpointing=true computes each batch twice, and batch normalization would "
                "count it twice: set model.normalization=group or none"
            )

    def build_networks(
        self, encoder: Callable[..., Any], decoder: Callable[..., Any]
    ) -> tuple[Any, Any]:
        up, down = super().build_networks(encoder, decoder)
        down.condition_on_labels(self.labels)
        return up, down

    @property
    def condition_shape(self) -> torch.Size:
        if self.condition is None or len(self.condition) == 1:
            return torch.Size()
        return self.condition.shape[:1]

    def make_start(self, lead: torch.Size) -> Tensor:
        start: Tensor = self.decoder.start
        if self.labels is not None:
            y = self._expand_condition(*lead).flatten(0, -2) if lead else self._expand_condition(1)
            start = start + self.run_network(self.decoder.label_start, y).unflatten(-1, start.shape)
        return start.expand(math.prod(lead), *self.decoder.start.shape)

    def run_prior(self, layer: Any, state: Tensor) -> tuple[Tensor, Tensor]:
        out = self.run_network(layer.prior, state)
        parameters = out.shape[1] - state.shape[1]
        raw, change = out.split([parameters, state.shape[1]], 1)
        return raw.flatten(1), state + change

    def run_network(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return super().run_network(lambda x: _recompute(network, x), x)
        return super().run_network(network, x)


def _recompute(network: Callable[[Tensor], Tensor], x: Tensor) -> Any:
    """Apply a network without random numbers, and compute it again in the backward pass."""
    return checkpoint(network, x, use_reentrant=False, preserve_rng_state=False)


class Encoder(nn.Module):
    """Residual blocks that compute the features of x at each height, from x up.

    Arguments:
        shape: The shape of x: a series, an image or a volume, see models/spatial.py.
        layers: The number of stochastic layers by the height of their map.
        channels: The channels of the maps; a number for all heights, or one for each.
        blocks: The number of residual blocks at each height; a number for all, or one for each.
        bottleneck: The channels inside a residual block, as a fraction of the channels of its map.
        normalization: none, group or batch, see models/resnet.py.

    Raises:
        UserError: If x has no map of one of the heights.
    """

    def __init__(
        self,
        shape: Sequence[int],
        layers: Layers = None,
        channels: PerHeight = 64,
        blocks: PerHeight = 2,
        bottleneck: float = 0.5,
        activation: str = "GELU",
        normalization: str = "none",
    ):
        super().__init__()
        sizes = compute_sizes(shape)
        counts = check_layers(layers, shape)
        widths = check_per_height("channels", channels, counts)
        numbers = check_per_height("encoder_blocks", blocks, counts)
        check_blocks(1, normalization)
        dims, depth = len(shape) - 1, sum(numbers.values())
        steps, inputs, reached = [], shape[0], sizes[0]
        for height in sorted(counts, reverse=True):
            step: list[nn.Module] = []
            width, size = widths[height], sizes[find_level(sizes, height)]
            halvings = find_level(sizes, size[0]) - find_level(sizes, reached[0])
            if not steps and not halvings:
                step.append(_make_scaled_conv(dims, inputs, width, 3, padding=1))
            for number in range(halvings):
                step.append(
                    _make_scaled_conv(
                        dims, width if number else inputs, width, 3, padding=1, stride=2
                    )
                )
            step += [
                Block(size, width, bottleneck, activation, normalization, depth)
                for _ in range(numbers[height])
            ]
            steps.append(nn.Sequential(*step))
            inputs, reached = width, size
        self.steps = nn.ModuleList(steps)


class Decoder(base.Decoder):
    """The stochastic layers from the top down, and convolutions from the last state to x.

    Arguments:
        layers, channels, bottleneck, activation, normalization: As in `Encoder`.
        latents: The channels of z_l; a number for all heights, or one for each. None gives each
            layer about LATENTS_PER_LAYER latents, so that they do not all lie in the largest maps.
        blocks: The number of residual blocks after each stochastic layer.

    Attributes:
        latents: The size of z_l in each layer, from the top down.
        heights: The height of the map of each layer, from the top down.
    """

    bias_per_channel = True

    def __init__(
        self,
        shape: Sequence[int],
        layers: Layers = None,
        channels: PerHeight = 64,
        latents: PerHeight | None = None,
        blocks: int = 1,
        bottleneck: float = 0.5,
        activation: str = "GELU",
        normalization: str = "none",
    ):
        super().__init__()
        check_blocks(blocks, normalization)
        counts = check_layers(layers, shape)
        widths = check_per_height("channels", channels, counts)
        latent_channels = check_latents(latents, counts)
        sizes, dims = compute_sizes(shape), len(shape) - 1
        depth = sum(counts.values())
        branches = (2 + blocks) * depth  # that are added to the state
        order = sorted(counts)
        self.heights = [height for height in order for _ in range(counts[height])]
        self.latents, steps = [], []
        top = sizes[find_level(sizes, order[0])]
        self.start = nn.Parameter(torch.randn(widths[order[0]], *top))
        for number, height in enumerate(self.heights):
            width, size = widths[height], sizes[find_level(sizes, height)]
            inner = {"activation": activation, "normalization": normalization}
            below: list[nn.Module] = [
                Block(size, width, bottleneck, depth=branches, **inner) for _ in range(blocks)
            ]
            following = self.heights[number + 1] if number + 1 < depth else height
            if following != height:
                target = sizes[find_level(sizes, following)]
                below.append(Upsampling(dims, width, widths[following], target))
            count = latent_channels[height]
            self.latents.append(count * math.prod(size))
            mid = _count_mid_channels(width, bottleneck)
            prior = make_branch(size, width, mid, 2 * count + width, **inner)
            scale_parts(prior[-1], 2 * count, 0.1, branches**-0.5)
            posterior = make_branch(size, 2 * width, mid, 2 * count, **inner)
            scale_parts(posterior[-1], 0, 1, 1e-4)
            merge = _make_scaled_conv(dims, count, width, 1)
            scale_parts(merge, 0, 1, branches**-0.5)
            steps.append(
                StochasticLayer(
                    len(order) - 1 - order.index(height),
                    prior=prior,
                    posterior=nn.Sequential(*posterior, nn.Flatten()),
                    merge=nn.Sequential(nn.Unflatten(-1, (count, *size)), merge),
                    below=nn.Sequential(*below),
                )
            )
        self.layers = nn.ModuleList(steps)
        self.label_start: nn.Module | None = None
        self.head = _make_head(shape, widths[order[-1]], sizes, order[-1], activation)

    def condition_on_labels(self, labels: int | None) -> None:
        """Add a linear map from labels (N, labels) to what is added to the first state."""
        if labels is not None:
            self.label_start = nn.Linear(labels, self.start.numel())

    def forward(self, state: Tensor) -> Tensor:
        return self.head(state)

    @property
    def output(self) -> Any:
        return self.head[-1]


class LatentSize:
    """Computes latent_dim, the number of latents of all layers, from the shape of x.

    Arguments:
        layers, latents: As in `Decoder`.
    """

    def __init__(self, layers: Layers = None, latents: PerHeight | None = None):
        self.layers, self.latents = layers, latents

    def __call__(self, shape: Sequence[int]) -> int:
        sizes, counts = compute_sizes(shape), check_layers(self.layers, shape)
        latents = check_latents(self.latents, counts)
        return sum(
            count * latents[height] * math.prod(sizes[find_level(sizes, height)])
            for height, count in counts.items()
        )


class Block(nn.Module):
    """A residual block, h + branch(h), with the bottleneck 1x1, 3x3, 3x3, 1x1.

    Arguments:
        depth: The number of residual blocks in the network. The last weights are divided by its
            square root, so that all blocks together change h about as much as one.
    """

    def __init__(
        self,
        size: Sequence[int],
        channels: int,
        bottleneck: float,
        activation: str,
        normalization: str,
        depth: int,
    ):
        super().__init__()
        mid = _count_mid_channels(channels, bottleneck)
        self.change = make_branch(size, channels, mid, channels, activation, normalization)
        scale_parts(self.change[-1], 0, 1, depth**-0.5)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.change(h)


class Upsampling(nn.Module):
    """Nearest neighbour upsampling to a size, and a learned bias of each entry of the new map.

    A 1x1 convolution changes the number of channels if necessary.
    """

    def __init__(self, dims: int, inputs: int, outputs: int, size: Sequence[int]):
        super().__init__()
        self.size = tuple(size)
        same = inputs == outputs
        self.channels = nn.Identity() if same else _make_scaled_conv(dims, inputs, outputs, 1)
        self.bias = nn.Parameter(torch.zeros(outputs, *size))

    def forward(self, h: Tensor) -> Tensor:
        return interpolate(self.channels(h), size=self.size) + self.bias


def make_branch(
    size: Sequence[int], inputs: int, mid: int, outputs: int, activation: str, normalization: str
) -> nn.Sequential:
    """Build convolutions 1x1, 3x3, 3x3, 1x1, an activation before each, with `mid` channels.

    For maps of at most 2 positions in each direction all are 1x1, as most weights of the others
    would only meet the padding.

    Arguments:
        size: The spatial size of the map.
    """
    dims, inner = len(size), 3 if max(size) > 2 else 1
    layers: list[nn.Module] = [build_normalization(normalization, dims, inputs)]
    widths = [inputs, mid, mid, mid, outputs]
    for kernel, (before, after) in zip((1, inner, inner, 1), pairwise(widths), strict=True):
        layers.append(build_activation(activation))
        layers.append(_make_scaled_conv(dims, before, after, kernel, padding=kernel // 2))
    return nn.Sequential(*layers)


def _make_scaled_conv(dims: int, *arguments: Any, **settings: Any) -> Any:
    """Build a convolution that preserves the scale of activations, with biases of 0."""
    conv: Any = make_conv(dims, *arguments, **settings)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)
    return conv


@torch.no_grad()
def scale_parts(conv: Any, first: int, factor: float, factor_of_rest: float) -> None:
    """Multiply the weights of the `first` outputs by a factor, and those of the rest by another."""
    conv.weight[:first] *= factor
    conv.weight[first:] *= factor_of_rest


def _make_head(
    shape: Sequence[int], width: int, sizes: list[tuple[int, ...]], height: int, activation: str
) -> nn.Sequential:
    """Build convolutions from the last state to x, which double its size where necessary."""
    dims, level = len(shape) - 1, find_level(sizes, height)
    layers: list[nn.Module] = []
    for size in reversed(sizes[:level]):
        outputs = shape[0] if size == sizes[0] else width
        kernel = 5 if any(edge % 2 for edge in size) else 4
        layers += [
            build_activation(activation),
            make_upsampling_conv(width, outputs, kernel, size),
        ]
    if not level:
        layers += [
            build_activation(activation),
            make_conv(dims, width, shape[0], 3, padding=1),
        ]
    return nn.Sequential(*layers)


def _count_mid_channels(channels: int, bottleneck: float) -> int:
    if not 0 < bottleneck <= 4:
        raise UserError(
            f"model.bottleneck={bottleneck}: it is the channels inside a residual block as a "
            "fraction of its channels, above 0 and at most 4, as in 0.25"
        )
    return max(1, round(channels * bottleneck))


def compute_sizes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Compute the sizes of the possible maps of x: its own, and each half of the last, rounded up.

    The last size has height 1.

    Raises:
        UserError: If x is neither a series nor an image nor a volume.
    """
    check_is_spatial("model=deep", shape, "use model=mlp or ladder")
    sizes = [tuple(shape[1:])]
    while sizes[-1][0] > 1:
        sizes.append(tuple((edge + 1) // 2 for edge in sizes[-1]))
    return sizes


def find_level(sizes: list[tuple[int, ...]], height: int) -> int:
    """Return the position of the size with a height."""
    return [size[0] for size in sizes].index(height)


def check_layers(layers: Layers, shape: Sequence[int]) -> dict[int, int]:
    """Return the number of stochastic layers by height, without heights that have none.

    Arguments:
        layers: None means the default: see `choose_layers`.

    Raises:
        UserError: If x has no map of a height, or there is no layer.
    """
    sizes = compute_sizes(shape)
    if layers is None:
        return choose_layers(sizes)
    possible = [size[0] for size in sizes]
    counts = _to_integers("layers", layers)
    for height, count in counts.items():
        if height not in possible:
            raise UserError(
                f"model.layers has height {height}, but the maps of {NOUNS[len(sizes[0])]} of "
                f"{format_size(sizes[0])} have the heights {', '.join(map(str, possible))}: choose "
                "from these"
            )
        if count < 0:
            raise UserError(f"model.layers={{{height}: {count}}}: it is a number of layers")
    counts = {height: count for height, count in counts.items() if count}
    if not 1 <= sum(counts.values()) <= MAX_LAYERS:
        raise UserError(
            f"model.layers={dict(layers)}: name at least one layer, as in {{{possible[-1]}: 2}}, "
            f"and at most {MAX_LAYERS}"
        )
    return counts


def choose_layers(sizes: list[tuple[int, ...]]) -> dict[int, int]:
    """Return the default layers: two at each height from half of that of x down to 4 at least."""
    heights = [size[0] for size in sizes]
    chosen = [height for height in heights[1:] if height >= 4] or heights[:1]
    return dict.fromkeys(chosen, 2)


def check_latents(latents: PerHeight | None, counts: Mapping[int, int]) -> dict[int, int]:
    """Return the channels of z by height; None gives each layer about LATENTS_PER_LAYER latents."""
    if latents is None:
        latents = {height: max(1, round(LATENTS_PER_LAYER / height**2)) for height in counts}
    return check_per_height("latents", latents, counts)


def check_per_height(key: str, value: PerHeight, counts: Mapping[int, int]) -> dict[int, int]:
    """Return a number for each height that has layers.

    Raises:
        UserError: If a height has no number, or a number is not positive.
    """
    if not isinstance(value, Mapping):
        value = dict.fromkeys(counts, value)
    numbers = _to_integers(key, value)
    for height in counts:
        if height not in numbers:
            raise UserError(
                f"model.{key}={numbers} has no number for the layers of height {height}: add it, "
                "or set one number for all heights"
            )
    check_sizes(f"model.{key}", list(numbers.values()))
    return {height: numbers[height] for height in counts}


def _to_integers(key: str, values: Mapping[Any, Any]) -> dict[int, int]:
    """Return integers by height; keys may be text, as in JSON.

    Raises:
        UserError: If one is no integer.
    """
    try:
        return {int(height): int(number) for height, number in values.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"model.{key}={values}: it needs a whole number for each height, as in "
            f"'model.{key}={{4: 8, 8: 6}}' (with the quotes, which the shell needs)"
        ) from error
