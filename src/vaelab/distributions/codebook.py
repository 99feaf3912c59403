"""Discrete latents of a VQ-VAE: the quantized posterior q(z|x), and p(z) as a prior over indices.

A code is a vector e_k (dim,) of the codebook (K, dim), and k is its index. A latent vector z (D,)
is the concatenation of n codes, so D = n dim. Where there are M codebooks (M, K, dim), code i of z
is from codebook i mod M.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, register_kl
from torch.distributions.constraints import Constraint
from torch.nn.functional import normalize

from vaelab.runtime.errors import UserError

MAX_DISTANCES = 2**24  # of vectors to codes, computed at once
SMALLEST_NORM = 1e-6  # shorter vectors have no direction


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
    """Return the latent vectors (*, n dim) of the codes with indices (*, n).

    Arguments:
        codebook: (K, dim), or (M, K, dim) for M codebooks.
    """
    codes = codebook.reshape(-1, codebook.shape[-1])
    return codes[number_codes(indices, codebook)].flatten(-2)


def number_codes(indices: Tensor, codebook: Tensor) -> Tensor:
    """Return the numbers of codes with indices (*, n) among the M K codes of all codebooks."""
    if codebook.ndim == 2:
        return indices
    books, size, _ = codebook.shape
    return indices + size * (torch.arange(indices.shape[-1], device=indices.device) % books)


def latents_to_indices(z: Tensor, codebook: Tensor) -> Tensor:
    """Return the indices (*, n) of the codes nearest to latent vectors (*, n dim).

    The distances are computed from the differences v - e_k, without cancellation, which
    distinguishes codes that differ by a single rounding step.

    Arguments:
        codebook: (K, dim), or (M, K, dim) for M codebooks.
    """
    books = codebook.reshape(-1, *codebook.shape[-2:])
    vectors = z.reshape(-1, len(books), codebook.shape[-1]).transpose(0, 1)
    nearest = [
        torch.cdist(chunk, books, compute_mode="donot_use_mm_for_euclid_dist").argmin(-1)
        for chunk in vectors.split(max(1, MAX_DISTANCES // books.shape[:-1].numel()), 1)
    ]
    return torch.cat(nearest, 1).T.reshape(*z.shape[:-1], -1)


class QuantizedCodes(Distribution):
    """The point mass at the codes nearest to the encoder output `out`.

    The straight-through estimator copies the gradient of a sample to `out`.

    Arguments:
        out: Encoder output (*, n dim), after the function that bounds or normalizes it, if any.
        indices: Indices of the nearest codes (*, n).
        codebook: (K, dim), or (M, K, dim).
        codebook_loss: A loss (*) in nats that trains the codes or their use; None without one.

    Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), equations 1
    and 2, arXiv:1711.00937
    """

    has_rsample = True
    support: Any = codebook_constraint

    def __init__(
        self,
        out: Tensor,
        indices: Tensor,
        codebook: Tensor,
        codebook_loss: Tensor | None = None,
    ):
        self.out, self.indices, self.codebook_loss = out, indices, codebook_loss
        self.loc = indices_to_latents(indices, codebook)
        self._numbers, self._shape = number_codes(indices, codebook), codebook.shape
        super().__init__(out.shape[:-1], self.loc.shape[-1:], validate_args=False)

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
    def code_counts(self) -> Tensor:
        """How often each code of each codebook occurs in this batch, (M, K)."""
        books, size = math.prod(self._shape[:-2]), self._shape[-2]
        return self._numbers.flatten().bincount(minlength=books * size).reshape(books, size)

    @property
    def code_perplexity(self) -> Tensor:
        """exp(entropy) () of the code frequencies in this batch, as a mean over codebooks.

        It is K if all codes are equally frequent, and 1 if a single code is used.
        """
        return compute_code_perplexity(self.code_counts).to(self.loc)

    @property
    def code_use(self) -> Tensor:
        """The fraction () of the codes that occur in this batch."""
        return (self.code_counts > 0).to(self.loc).mean()

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Return z + g - sg(g), which equals z exactly and has the gradient of g, by default out.

        sg stops the gradient.
        """
        path = self.gradient_path()
        z = self.loc + (path - path.detach())
        return z.expand(*sample_shape, *z.shape)

    def gradient_path(self) -> Tensor:
        """Return the function g of `out` whose gradient a sample has."""
        return self.out

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.loc.expand(*sample_shape, *self.loc.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return 0 where value equals z, and -inf otherwise."""
        return _log_indicator((value == self.loc).all(-1)).to(self.loc.dtype)


def compute_code_perplexity(counts: Tensor) -> Tensor:
    """Compute exp(entropy) () of the relative frequencies of codes, as a mean over codebooks.

    Arguments:
        counts: How often each code of each codebook occurs, (M, K).
    """
    frequencies = counts / counts.sum(-1, keepdim=True)
    return (-torch.xlogy(frequencies, frequencies).sum(-1)).exp().mean()


class RotatedCodes(QuantizedCodes):
    """Codes whose samples have the gradient of a rotation and scaling of `out` onto the codes.

    For each vector v of `out` and its code e, the sample is (|e| / |v|) R v, where the rotation R
    from v to e in their plane and the scale are constants of the gradient:

        R = I - 2 r r^T + 2 (e / |e|) (v / |v|)^T,    r = (v / |v| + e / |e|) / |...|

    Reference: Restructuring Vector Quantization with the Rotation Trick (Fifty et al., 2024),
    section 4.2, arXiv:2410.06424
    """

    def gradient_path(self) -> Tensor:
        dim = self._shape[-1]
        vectors, codes = self.out.unflatten(-1, (-1, dim)), self.loc.unflatten(-1, (-1, dim))
        with torch.no_grad():
            scale = codes.norm(dim=-1, keepdim=True) / vectors.norm(dim=-1, keepdim=True).clamp(
                min=SMALLEST_NORM
            )
            v, e, r = (
                normalize(each, dim=-1, eps=SMALLEST_NORM)
                for each in (
                    vectors,
                    codes,
                    normalize(vectors, dim=-1) + normalize(codes, dim=-1),
                )
            )

        def project(direction: Tensor) -> Tensor:
            return (vectors * direction).sum(-1, keepdim=True)

        return (scale * (vectors - 2 * project(r) * r + 2 * project(v) * e)).flatten(-2)


class ResidualCodes(QuantizedCodes):
    """Codes of several levels, each of which quantizes what the levels before it left over.

    z has the `depth` codes of each vector of `out` after one another. Their sum, which the decoder
    gets, has the straight-through gradient of `out`.

    Arguments:
        out: Encoder output (*, N dim): N vectors, those of the groups of a position in a row.
        indices: (*, N depth), in the order of z.
        codebook: (M, K, dim) with M the number of groups times depth.
        depth: The number of codes that are summed.

    Reference: Autoregressive Image Generation using Residual Quantization (Lee et al., 2022),
    section 3.1, arXiv:2203.01941
    """

    def __init__(self, out: Tensor, indices: Tensor, codebook: Tensor, depth: int):
        super().__init__(out, indices, codebook)
        self._levels = (-1, depth, codebook.shape[-1])

    @property
    def commitment(self) -> Tensor:
        """The sum over levels of |out - the sum of the codes up to this level|^2 (*)."""
        partial_sums = self.loc.unflatten(-1, self._levels).cumsum(-2)
        out = self.out.unflatten(-1, (-1, 1, self._levels[-1]))
        return (out - partial_sums).square().sum((-3, -2, -1))

    def gradient_path(self) -> Tensor:
        out = self.out.unflatten(-1, (-1, 1, self._levels[-1]))
        rest = out.new_zeros(*out.shape[:-2], self._levels[1] - 1, self._levels[-1])
        return torch.cat([out, rest], -2).flatten(-3)


class EmbeddedCodes(Distribution):
    """The prior p(z) that follows from a prior p(c) over the n indices of the codes.

    Arguments:
        index_prior: p(c), with event shape (n,).
        codebook: (K, dim), or (M, K, dim) for M codebooks.
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
        start: Called with a number B of samples, returns a function that is called with None, and
            then with each sampled index (B,), and returns the logits (B, K) of the next one. None
            computes the logits of all indices for each one.
    """

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        zeros: Tensor,
        start: Callable[[int], Callable[[Tensor | None], Tensor]] | None = None,
    ):
        self.logits, self.zeros, self.start = logits, zeros, start
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
        next_logits = self.start(count) if self.start else None
        for i in range(len(self.zeros) if count else 0):
            if next_logits:
                logits = next_logits(indices[:, i - 1] if i else None)
            else:
                logits = self.logits(indices)[:, i]
            probabilities = (logits / temperature).softmax(-1)
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
