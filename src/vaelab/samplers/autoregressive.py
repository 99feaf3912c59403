"""An autoregressive prior, drawn one code after the other: `sampler=autoregressive`."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vaelab.samplers.base import Sampler
from vaelab.vae import VAE


class Autoregressive(Sampler):
    """z_i ~ p(z_i | z_1 ... z_{i-1}) with its logits divided by the temperature; it needs no codes.

    For a run whose prior, or its distribution, has a method sample(shape, temperature).
    """

    fitted = False
    draw: Callable[..., Tensor]

    def prepare(self, vae: VAE) -> None:
        owners: tuple[Any, ...] = (vae.prior, vae.latents())
        found = [owner.sample for owner in owners if _takes_temperature(owner)]
        if not found:
            raise ValueError(
                f"sampler=autoregressive: {type(vae.prior).__name__}, the prior of this run, is "
                "not autoregressive: set sampler=prior"
            )
        self.draw = found[0]

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        return self.draw(torch.Size([n]), temperature=self.temperature)


def _takes_temperature(owner: Any) -> bool:
    sample = getattr(owner, "sample", None)
    return sample is not None and "temperature" in inspect.signature(sample).parameters
