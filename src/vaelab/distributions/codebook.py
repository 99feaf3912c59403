"""Codes that are vectors of a codebook: the points q(z|x), and p(z) by the indices of the vectors.

A code z (D,) is n vectors of a codebook (K, dim), one after another, so that D = n dim.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, register_kl
from torch.distributions.constraints import Constraint


class _Codes(Constraint):
    """z is made of vectors of the codebook."""

    event_dim = 1

    def __repr__(self) -> str:
        return "the codes of a codebook"


codes_constraint = _Codes()


def nearest_code(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The index (*) of the code nearest to each vector (*, dim): argmin_k |e_k|^2 - 2 v . e_k."""
    return (codebook.square().sum(-1) - 2 * vectors @ codebook.T).argmin(-1)


def codes_to_vectors(indices: Tensor, codebook: Tensor) -> Tensor:
    """Indices (*, n) to the code z (*, n dim)."""
    return codebook[indices].flatten(-2)


def vectors_to_indices(z: Tensor, codebook: Tensor) -> Tensor:
    """The code z (*, n dim) to indices (*, n), by differences that lose no digits."""
    vectors = z.reshape(-1, codebook.shape[-1])
    distance = torch.cdist(vectors, codebook, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.argmin(-1).reshape(*z.shape[:-1], -1)


class QuantizedCodes(Distribution):
    """All probability at the code nearest to `out` (*, n dim).

    A draw passes its gradient on to `out` as it comes (straight-through).

    Arguments:
        indices: Of the nearest vectors, (*, n).
        codebook: (K, dim).

    Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), equations 1
    and 2, arXiv:1711.00937
    """

    has_rsample = True
    support: Any = codes_constraint

    def __init__(self, out: Tensor, indices: Tensor, codebook: Tensor):
        self.out, self.indices, self.size = out, indices, len(codebook)
        self.loc = codes_to_vectors(indices, codebook)
        super().__init__(out.shape[:-1], out.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def commitment(self) -> Tensor:
        """|out - z|^2 (*), whose gradient draws `out` to its code."""
        return (self.out - self.loc).square().sum(-1)

    @property
    def usage(self) -> Tensor:
        """exp(entropy) () of how often each code is used: K where all are alike, 1 for one."""
        counts = self.indices.flatten().bincount(minlength=self.size)
        usage = counts.to(self.loc) / counts.sum()
        return (-torch.xlogy(usage, usage).sum()).exp()

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """z + out - sg(out), which is z to the last digit."""
        z = self.loc + (self.out - self.out.detach())
        return z.expand(*sample_shape, *z.shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.loc.expand(*sample_shape, *self.loc.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """0 at its own code, -inf elsewhere."""
        return _log((value == self.loc).all(-1)).to(self.loc.dtype)


class EmbeddedCodes(Distribution):
    """p(z) of codes from p(c) (n,) of their indices.

    Arguments:
        indices: p(c).
        codebook: (K, dim).
    """

    support: Any = codes_constraint

    def __init__(self, indices: Distribution, codebook: Tensor):
        self.indices, self.codebook = indices, codebook
        size = indices.event_shape[0] * codebook.shape[-1]
        super().__init__(indices.batch_shape, torch.Size((size,)), validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size(), **settings: Any) -> Tensor:  # noqa: B008
        """Codes (*sample_shape, n dim); settings are those that p(c) takes, as temperature=0.9."""
        return codes_to_vectors(self.indices.sample(sample_shape, **settings), self.codebook)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(c) of the indices of a code, -inf where there is none."""
        indices = vectors_to_indices(value, self.codebook)
        is_code = (value == codes_to_vectors(indices, self.codebook)).all(-1)
        return self.indices.log_prob(indices) + _log(is_code).to(value.dtype)


class UniformIndices(Distribution):
    """p(c) = K^-n for n indices below K; `zeros` (n,) says where they are kept."""

    def __init__(self, zeros: Tensor, size: int):
        self.zeros, self.size = zeros, size
        super().__init__(event_shape=zeros.shape, validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = (*sample_shape, len(self.zeros))
        return torch.randint(self.size, shape, device=self.zeros.device)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.zeros.new_full(value.shape[:-1], -len(self.zeros) * math.log(self.size))


class AutoregressiveIndices(Distribution):
    """p(c) = prod_i p(c_i | c_1 ... c_{i-1}).

    Arguments:
        logits: From indices (B, n) to (B, n, K); those at i know of the indices before i only.
        zeros: (n,), which says where they are kept.
    """

    def __init__(self, logits: Callable[[Tensor], Tensor], zeros: Tensor):
        self.logits, self.zeros = logits, zeros
        super().__init__(event_shape=zeros.shape, validate_args=False)

    @torch.no_grad()
    def sample(
        self,
        sample_shape: Any = torch.Size(),  # noqa: B008
        temperature: float = 1.0,
    ) -> Tensor:
        """One index after another, a pass for each, from p(c_i | ...)^(1 / temperature)."""
        if not temperature > 0:
            raise ValueError(f"temperature={temperature}: it must be above 0")
        count = math.prod(sample_shape)
        drawn = self.zeros.new_zeros((count, len(self.zeros)), dtype=torch.long)
        for i in range(len(self.zeros) if count else 0):
            chances = (self.logits(drawn)[:, i] / temperature).softmax(-1)
            drawn[:, i] = chances.multinomial(1).squeeze(-1)
        return drawn.reshape(*sample_shape, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        flat = value.reshape(-1, value.shape[-1])
        log_p = self.logits(flat).log_softmax(-1).gather(-1, flat.unsqueeze(-1))
        return log_p.sum((-2, -1)).reshape(value.shape[:-1])


def _log(holds: Tensor) -> Tensor:
    """0 where it holds, -inf elsewhere."""
    return torch.where(holds, 0.0, -math.inf)


@register_kl(QuantizedCodes, EmbeddedCodes)
def _(q: QuantizedCodes, p: EmbeddedCodes) -> Tensor:
    """-log p(c), for UniformIndices n ln K."""
    return -p.indices.log_prob(q.indices)
