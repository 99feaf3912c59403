"""Vector quantization with a learned codebook: `posterior=vq`, with prior=codes or pixelcnn.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), equations 1 and 2,
appendix A.1, arXiv:1711.00937
"""

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import one_hot

from vaelab.distributions.codebook import (
    EmbeddedCodes,
    QuantizedCodes,
    codebook_constraint,
    find_nearest_codes,
)
from vaelab.posteriors.base import Posterior, check_count
from vaelab.runtime.distributed import broadcast_from_first_process, sum_over_processes
from vaelab.runtime.errors import UserError


class VQ(Posterior):
    """The point mass at the codes nearest to the encoder output.

    The encoder output is split into vectors of length dim; z is the concatenation of the nearest
    code to each vector.

    The codebook is a buffer. A training step updates each code e_k by exponential moving averages
    over the vectors v that are nearest to it, of all processes:
    N_k <- decay N_k + (1 - decay) n_k with the number n_k of such vectors,
    m_k <- decay m_k + (1 - decay) sum v, and e_k = m_k / N_k.

    Arguments:
        latent_dim: The length of z, a multiple of dim.
        codes: The number of codes K in the codebook.
        dim: The length of a code.
        decay: The decay of the moving averages, in [0, 1).
        epsilon: Laplace smoothing: e_k is divided by (N_k + epsilon) / (sum N + K epsilon) sum N.
        revive: A code with N_k below this fraction of the mean of N is replaced by a random vector
            of the batch. 0 disables this.

    Raises:
        UserError: If latent_dim is not a multiple of dim or an argument is out of range.
    """

    support = codebook_constraint
    is_random = False
    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        latent_dim: int,
        codes: int = 512,
        dim: int = 4,
        decay: float = 0.99,
        epsilon: float = 1e-5,
        revive: float = 0.03,
    ):
        super().__init__()
        check_count("codes", codes)
        check_count("dim", dim)
        _check_fractions(decay=decay, epsilon=epsilon, revive=revive)
        if latent_dim % dim:
            raise UserError(
                f"latent_dim={latent_dim} must be a multiple of posterior.dim={dim} (the length of "
                f"a code): set latent_dim to a multiple, such as latent_dim={5 * dim}, or another "
                "posterior.dim"
            )
        self.inputs, self.codes, self.dim = latent_dim, codes, dim
        self.decay, self.epsilon, self.revive = decay, epsilon, revive
        self.register_buffer("codebook", torch.randn(codes, dim))
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", self.codebook.clone())

    def forward(self, out: Tensor) -> QuantizedCodes:
        vectors = self._split(out.detach())
        indices = find_nearest_codes(vectors, self.codebook)
        q = QuantizedCodes(out, indices, self.codebook)
        if self.training and torch.is_grad_enabled():
            self._update_codebook(vectors.flatten(0, -2), indices.flatten())
        return q

    def prior_on_z(self, p: Distribution) -> EmbeddedCodes:
        return EmbeddedCodes(p, self.codebook)

    @torch.no_grad()
    def initialize(self, out: Tensor) -> None:
        """Initialize the codes with distinct random vectors of encoder outputs (N, latent_dim).

        If there are fewer distinct vectors than codes, the remaining codes are noisy copies.
        """
        vectors = self._split(out).flatten(0, -2)
        distinct = vectors.unique(dim=0)
        distinct = distinct[torch.randperm(len(distinct), device=out.device)]
        initial = distinct.repeat(-(-self.codes // len(distinct)), 1)[: self.codes]
        noise = 0.1 * vectors.std(0) * torch.randn_like(initial)
        noise[: len(distinct)] = 0
        self.codebook.copy_(initial + noise)
        self.sums.copy_(self.codebook)
        self.counts.fill_(1)

    def _split(self, out: Tensor) -> Tensor:
        """Split encoder outputs (*, n dim) into vectors (*, n, dim)."""
        return out.unflatten(-1, (-1, self.dim))

    @torch.no_grad()
    def _update_codebook(self, vectors: Tensor, indices: Tensor) -> None:
        """Update the codebook with vectors (M, dim) and the indices (M,) of their nearest codes."""
        assignments = one_hot(indices, self.codes).to(vectors)
        self.counts.lerp_(sum_over_processes(assignments.sum(0)), 1 - self.decay)
        self.sums.lerp_(sum_over_processes(assignments.T @ vectors), 1 - self.decay)
        total = self.counts.sum()
        smooth = (self.counts + self.epsilon) / (total + self.codes * self.epsilon) * total
        self.codebook.copy_(self.sums / smooth.unsqueeze(-1))
        if self.revive:
            self._revive_unused_codes(vectors)

    def _revive_unused_codes(self, vectors: Tensor) -> None:
        """Replace rarely used codes by random vectors of the batch.

        Their counts are set to the mean count.

        Arguments:
            vectors: The vectors (M, dim) of the batch.
        """
        rows = torch.randint(len(vectors), (self.codes,), device=vectors.device)
        candidates, mean = broadcast_from_first_process(vectors[rows]), self.counts.mean()
        is_unused = self.counts < self.revive * mean
        self.counts.copy_(torch.where(is_unused, mean, self.counts))
        is_unused = is_unused.unsqueeze(-1)
        self.codebook.copy_(torch.where(is_unused, candidates, self.codebook))
        self.sums.copy_(torch.where(is_unused, mean * candidates, self.sums))


def _check_fractions(**settings: float) -> None:
    """Raise a ValueError unless all settings lie in [0, 1)."""
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise UserError(f"posterior.{name}={value}: it must lie in [0, 1)")
