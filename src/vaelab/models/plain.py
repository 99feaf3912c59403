"""Plain networks of the user as encoder and decoder, without a base class of vaelab.

`vaelab.make_model(shape, encoder=net, decoder=net)` uses this module. From a config:

    model:
      encoder:
        _target_: vaelab.models.plain.Encoder
        _partial_: true
        network: {_target_: mypackage.nets.Encoder, _partial_: true}
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.models import base
from vaelab.runtime.errors import UserError

Network = nn.Module | Callable[..., nn.Module]
ENDINGS = (nn.Sigmoid, nn.Softmax, nn.LogSoftmax, nn.LogSigmoid)  # that no likelihood expects


class Encoder(nn.Module):
    """A network that maps x (B, *shape) to `outputs` values, as (B, outputs) or (B, ...).

    Arguments:
        shape: The shape of one x.
        outputs: The number of parameters of q(z|x), see `Posterior.inputs`.
        network: A module, or a factory that is called with (shape, outputs).

    Raises:
        UserError: If the network does not accept x, or returns another number of values.
    """

    def __init__(self, shape: Sequence[int], outputs: int, network: Network):
        super().__init__()
        self.network = _build_network(network, shape, outputs)
        _check_network(self.network, "encoder", shape, (outputs,), "parameters of q(z|x)")

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).flatten(1)


class Decoder(base.Decoder):
    """A network that maps z (B, latent_dim) to the parameters of p(x|z), as (B, *shape) or flat.

    Its last layer, a linear layer or a convolution, is initialized as in vaelab's own decoders:
    its bias fits p(x|z) to the training images. A network that ends otherwise keeps its weights.

    Arguments:
        latent_dim: The number of latent dimensions.
        shape: The channels that the likelihood needs, and the size of an image.
        network: A module, or a factory that is called with (latent_dim, shape).

    Raises:
        UserError: If the network does not accept z, returns another number of values, or ends in a
            sigmoid or softmax, which the likelihoods apply themselves.
    """

    def __init__(self, latent_dim: int, shape: Sequence[int], network: Network):
        super().__init__()
        self.latent_dim, self.shape = latent_dim, tuple(shape)
        self.network = _build_network(network, latent_dim, shape)
        layers = self._leaf_modules()
        if layers and isinstance(layers[-1], ENDINGS):
            raise UserError(
                f"decoder: it ends in {type(layers[-1]).__name__}, but the likelihood expects the "
                "values before it: remove this layer"
            )
        _check_network(self.network, "decoder", (latent_dim,), shape, "parameters of p(x|z)")

    def forward(self, z: Tensor) -> Tensor:
        return self.network(z).reshape(len(z), *self.shape)

    @property
    def output(self) -> Any:
        """The last layer that is defined with a bias, or None."""
        layers = [each for each in self._leaf_modules() if getattr(each, "bias", None) is not None]
        return layers[-1] if layers else None

    @property
    def bias_per_channel(self) -> bool:  # type: ignore[override]
        """True if the bias of the last layer has one value per channel of an image."""
        size = 0 if self.output is None else self.output.bias.numel()
        return len(self.shape) > 1 and size == self.shape[0]

    def initialize(self, out: Tensor) -> None:
        if self._output_bias_is_added():
            with torch.no_grad():
                channels = out.flatten(1).mean(1) if self.bias_per_channel else out.flatten()
                self.output.bias.copy_(channels)

    def scale_output_weights(self, factor: float) -> None:
        if self._output_bias_is_added():
            super().scale_output_weights(factor)

    def _leaf_modules(self) -> list[nn.Module]:
        return [each for each in self.network.modules() if not list(each.children())]

    @torch.no_grad()
    def _output_bias_is_added(self) -> bool:
        """True if adding 1 to the bias of the last layer adds 1 to every output."""
        layer = self.output
        if layer is None or layer.bias.numel() not in (self.shape[0], math.prod(self.shape)):
            return False
        z = torch.zeros(1, self.latent_dim, device=layer.bias.device)
        with _evaluation_mode(self):
            before, bias = self(z), layer.bias.clone()
            layer.bias.add_(1)
            difference = self(z) - before
            layer.bias.copy_(bias)
        return torch.allclose(difference, torch.ones_like(difference), atol=1e-3)


def _build_network(network: Network, *arguments: Any) -> nn.Module:
    """Return a network, or what a factory returns for the arguments."""
    built = network if isinstance(network, nn.Module) else network(*arguments)
    if not isinstance(built, nn.Module):
        raise UserError(f"{network} must return an nn.Module, but it returns {type(built)}")
    return built


@torch.no_grad()
def _check_network(
    network: nn.Module, name: str, inputs: Sequence[int], outputs: Sequence[int], meaning: str
) -> None:
    """Apply a network to zeros (2, *inputs), and check that it returns 2 * prod(outputs) values."""
    parameter = next(network.parameters(), None)
    device = None if parameter is None else parameter.device
    with _evaluation_mode(network):
        try:
            returned = network(torch.zeros(2, *inputs, device=device))
        except RuntimeError as error:
            raise UserError(
                f"{name}: it does not accept a tensor of shape {[2, *inputs]}, a batch of two: "
                f"{error}"
            ) from error
    size = math.prod(outputs)
    if not isinstance(returned, Tensor) or returned.shape[0] != 2 or returned.numel() != 2 * size:
        given = list(returned.shape) if isinstance(returned, Tensor) else type(returned).__name__
        raise UserError(
            f"{name}: for a batch of two it must return a tensor of shape {[2, *outputs]}, the "
            f"{meaning}, but it returns {given}"
        )


@contextmanager
def _evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Switch off dropout and the updates of batch statistics."""
    modes = {each: each.training for each in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
