"""Discrete latents of a VQ-VAE: the quantized posterior q(z|x), and p(z) as a prior over indices.

A code is a vector e_k (dim,) of the codebook (K, dim), and k is its index. A latent vector z (D,)
is the concatenation of n codes, so D = n dim.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, register_kl
from torch.distributions.constraints import Constraint

from vaelab.runtime.errors import UserError


class CodebookConstraint(Constraint):
    """Latent vectors that are concatenated codes of a codebook."""

    event_dim = 1

    def __repr__(self) -> str:
        return "the codes of a codebook"


codebook_constraint = CodebookConstraint()


def find_nearest_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index (*) of the code nearest to each vector (*, dim).

    argmin_k |e_k|^2 - 2 v . e_k, which has the same minimum as |v - e_k|^2.
    """
    return (codebook.square().sum(-1) - 2 * vectors @ codebook.T).argmin(-1)


def indices_to_latents(indices: Tensor, codebook: Tensor) -> Tensor:
    """Return the latent vectors (*, n dim) of the codes with indices (*, n)."""
    return codebook[indices].flatten(-2)


def latents_to_indices(z: Tensor, codebook: Tensor) -> Tensor:
    """Return the indices (*, n) of the codes nearest to latent vectors (*, n dim).

    The distances are computed from the differences v - e_k, without cancellation, which
    distinguishes codes that differ by a single rounding step.
    """
    vectors = z.reshape(-1, codebook.shape[-1])
    distance = torch.cdist(vectors, codebook, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.argmin(-1).reshape(*z.shape[:-1], -1)


class QuantizedCodes(Distribution):
    """The point mass at the codes nearest to the encoder output `out`.

    The straight-through estimator copies the gradient of a sample to `out`.

    Arguments:
        out: Encoder output (*, n dim).
        indices: Indices of the nearest codes (*, n).
        codebook: (K, dim).

    Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), equations 1
    and 2, arXiv:1711.00937
    """

    has_rsample = True
    support: Any = codebook_constraint

    def __init__(self, out: Tensor, indices: Tensor, codebook: Tensor):
        self.out, self.indices, self.size = out, indices, len(codebook)
        self.loc = indices_to_latents(indices, codebook)
        super().__init__(out.shape[:-1], out.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def commitment(self) -> Tensor:
        """The commitment loss |out - z|^2 (*); its gradient pulls `out` towards its codes."""
        return (self.out - self.loc).square().sum(-1)

    @property
    def code_perplexity(self) -> Tensor:
        """exp(entropy) () of the code frequencies in this batch.

        It is K if all codes are equally frequent, and 1 if a single code is used.
        """
        counts = self.indices.flatten().bincount(minlength=self.size)
        frequencies = counts.to(self.loc) / counts.sum()
        return (-torch.xlogy(frequencies, frequencies).sum()).exp()

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Return z + out - sg(out), which equals z exactly and has the gradient of `out`."""
        z = self.loc + (self.out - self.out.detach())
        return z.expand(*sample_shape, *z.shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.loc.expand(*sample_shape, *self.loc.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return 0 where value equals z, and -inf otherwise."""
        return _log_indicator((value == self.loc).all(-1)).to(self.loc.dtype)


class EmbeddedCodes(Distribution):
    """The prior p(z) that follows from a prior p(c) over the n indices of the codes.

    Arguments:
        index_prior: p(c), with event shape (n,).
        codebook: (K, dim).
    """

    support: Any = codebook_constraint

    def __init__(self, index_prior: Distribution, codebook: Tensor):
        self.index_prior, self.codebook = index_prior, codebook
        size = index_prior.event_shape[0] * codebook.shape[-1]
        super().__init__(index_prior.batch_shape, torch.Size((size,)), validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size(), **settings: Any) -> Tensor:  # noqa: B008
        """Sample latent vectors (*sample_shape, n dim).

        Arguments:
            settings: Keyword arguments of the `sample` method of p(c), such as temperature=0.9.
        """
        return indices_to_latents(self.index_prior.sample(sample_shape, **settings), self.codebook)

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute log p(c) for the indices c of value (*, n dim).

        The result is -inf where value is not a concatenation of codes.
        """
        indices = latents_to_indices(value, self.codebook)
        is_code = (value == indices_to_latents(indices, self.codebook)).all(-1)
        return self.index_prior.log_prob(indices) + _log_indicator(is_code).to(value.dtype)


class UniformIndices(Distribution):
    """The uniform prior p(c) = K^-n over n indices.

    Arguments:
        zeros: (n,), which sets the event shape, the dtype and the device.
        size: K.
    """

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
    """The autoregressive prior p(c) = prod_i p(c_i | c_1 ... c_{i-1}).

    Arguments:
        logits: Maps indices (B, n) to logits (B, n, K), where the logits of index i depend only on
            indices 1 ... i - 1.
        zeros: (n,), which sets the event shape and the device.
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
        """Sample indices (*sample_shape, n) one after another, with one network pass for each.

        Arguments:
            temperature: Divides the logits: c_i is sampled from a distribution proportional to
                p(c_i | c_1 ... c_{i-1})^(1 / temperature).

        Raises:
            UserError: If temperature is not positive.
        """
        if not temperature > 0:
            raise UserError(f"temperature={temperature}: it must be above 0")
        count = math.prod(sample_shape)
        indices = self.zeros.new_zeros((count, len(self.zeros)), dtype=torch.long)
        for i in range(len(self.zeros) if count else 0):
            probabilities = (self.logits(indices)[:, i] / temperature).softmax(-1)
            indices[:, i] = probabilities.multinomial(1).squeeze(-1)
        return indices.reshape(*sample_shape, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        flat = value.reshape(-1, value.shape[-1])
        log_p = self.logits(flat).log_softmax(-1).gather(-1, flat.unsqueeze(-1))
        return log_p.sum((-2, -1)).reshape(value.shape[:-1])


def _log_indicator(condition: Tensor) -> Tensor:
    """Return 0 where the condition is true, and -inf otherwise."""
    return torch.where(condition, 0.0, -math.inf)


@register_kl(QuantizedCodes, EmbeddedCodes)
def _(q: QuantizedCodes, p: EmbeddedCodes) -> Tensor:
    """KL(q || p) = -log p(c), which is n ln K for UniformIndices."""
    return -p.index_prior.log_prob(q.indices)
