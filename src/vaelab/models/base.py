"""The contract of an architecture: one file with an Encoder and a Decoder.

`Encoder(shape, outputs, ...)` maps x (B, *shape) to (B, outputs): the raw parameters of q(z|x).
`Decoder(latent_dim, shape, ...)` maps z (B, latent_dim) to (B, *shape): the raw parameters of
p(x|z), never squashed by a sigmoid or tanh; `initialize(out)` starts it at `out` (*shape).
VAE works out `outputs` and the decoder's channels from the posterior and the likelihood.
"""

from torch import nn


def activation_named(name: str) -> nn.Module:
    """The activation that torch.nn knows under this name, such as ReLU, SiLU or Tanh."""
    found = getattr(nn.modules.activation, name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        known = [key for key in nn.modules.activation.__all__ if key != "MultiheadAttention"]
        raise ValueError(f"model.activation={name}: choose from {', '.join(known)}")
    return found()


def check_sizes(key: str, sizes: list[int]) -> None:
    if any(size < 1 for size in sizes):
        raise ValueError(f"{key}={list(sizes)}: every size must be at least 1")
