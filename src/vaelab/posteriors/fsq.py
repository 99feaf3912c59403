"""Finite scalar quantization, a fixed grid instead of a learned codebook: `posterior=fsq`.

Reference: Finite Scalar Quantization: VQ-VAE Made Simple (Mentzer et al., 2023), section 3.1 and
appendix A.1, arXiv:2309.15505
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.distributions.codebook import QuantizedCodes
from vaelab.posteriors.quantizer import Quantizer, check_is_multiple
from vaelab.runtime.errors import UserError

MARGIN = 1e-3  # the bound lies this fraction beyond the outermost levels, which stay reachable


class FSQ(Quantizer):
    """The point mass at the rounded encoder output, which is bounded to a few levels per number.

    The encoder output is split into vectors v of length d, the number of entries of `levels`.
    Number i of a vector is bounded and rounded to one of L_i integers, and scaled to [-1, 1]:

        f(v) = (L - 1) (1 + margin) / 2 tanh(v + shift) - offset,    z = round(f(v)) / floor(L / 2)

    offset is 1/2 for even L and 0 for odd L, and shift makes f(0) = 0. A sample has the gradient of
    f(v) / floor(L / 2). The codebook is the fixed grid of K = prod_i L_i codes, so there is neither
    a commitment loss nor an update. The index of a code is its number in mixed radix, with number 1
    of the vector as the lowest digit.

    Arguments:
        latent_dim: The length of z, a multiple of the number of levels.
        levels: The number L_i of levels of each number, at least 3.

    Raises:
        UserError: If latent_dim is not a multiple of the number of levels, or levels are too few.
    """

    has_commitment = False
    length_setting = "the number of posterior.levels"
    codebook: Tensor
    scale: Tensor
    shift: Tensor
    offset: Tensor
    radius: Tensor
    basis: Tensor

    def __init__(self, latent_dim: int, levels: Sequence[int] = (8, 8, 8, 8)):
        super().__init__()
        levels = list(levels)
        if not levels or min(levels) < 3:
            raise UserError(
                f"posterior.levels={levels}: it must be a list of numbers of at least 3"
            )
        self.inputs, self.dim, self.codes = latent_dim, len(levels), math.prod(levels)
        check_is_multiple(latent_dim, self.dim, f"the {self.dim} numbers of posterior.levels")
        size = torch.tensor(levels)
        scale, offset = (size - 1) * (1 + MARGIN) / 2, (1 - size % 2) / 2
        radius = size // 2
        basis = torch.tensor([math.prod(levels[:i]) for i in range(len(levels))])
        digits = torch.arange(self.codes).unsqueeze(-1) // basis % size
        for name, value in (
            ("scale", scale),
            ("offset", offset),
            ("shift", torch.atanh(offset / scale)),
            ("radius", radius.float()),
            ("basis", basis),
            ("codebook", (digits - radius) / radius),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, out: Tensor) -> QuantizedCodes:
        bounded = self.scale * torch.tanh(self._split(out) + self.shift) - self.offset
        with torch.no_grad():
            digits = bounded.nan_to_num().round() + self.radius
            indices = (digits.long() * self.basis).sum(-1)
        return QuantizedCodes((bounded / self.radius).flatten(-2), indices, self.codebook)

    def get_codebook(self) -> Tensor:
        return self.codebook
