"""The nearest codes of a learned codebook: `posterior=vq`, with prior=codes or pixelcnn.

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
    codes_constraint,
    nearest_code,
)
from vaelab.posteriors.base import Posterior, check_count
from vaelab.runtime.distributed import broadcast_from_first_process, sum_over_processes


class VQ(Posterior):
    """z = the nearest of `codes` vectors to each piece of out, of `dim` numbers.

    The codebook is no parameter. A training step moves each code e_k towards the mean of the
    pieces that chose it, N_k <- decay N_k + (1 - decay) n_k, m_k likewise with their sum, and
    e_k = m_k / N_k, all processes together.

    Arguments:
        codes: K.
        epsilon: Laplace's smoothing of N, (N_k + epsilon) / (sum N + K epsilon) sum N.
        revive: A code with N_k below this share of the mean is moved to a piece of the batch; 0
            leaves it where it is.
    """

    support = codes_constraint
    random = False
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
        _check_share(decay=decay, epsilon=epsilon, revive=revive)
        if latent_dim % dim:
            raise ValueError(
                f"latent_dim={latent_dim} cannot be cut into codes of posterior.dim={dim} numbers: "
                f"set one so that it is a multiple of the other, as in latent_dim={5 * dim}"
            )
        self.inputs, self.codes, self.dim = latent_dim, codes, dim
        self.decay, self.epsilon, self.revive = decay, epsilon, revive
        self.register_buffer("codebook", torch.randn(codes, dim))
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", self.codebook.clone())

    def forward(self, out: Tensor) -> QuantizedCodes:
        vectors = self._pieces(out.detach())
        indices = nearest_code(vectors, self.codebook)
        q = QuantizedCodes(out, indices, self.codebook)
        if self.training and torch.is_grad_enabled():
            self._follow(vectors.flatten(0, -2), indices.flatten())
        return q

    def prior_on_z(self, p: Distribution) -> EmbeddedCodes:
        return EmbeddedCodes(p, self.codebook)

    @torch.no_grad()
    def initialize(self, out: Tensor) -> None:
        """Start at pieces that differ, or near some where there are too few."""
        pieces = self._pieces(out).flatten(0, -2)
        distinct = pieces.unique(dim=0)
        distinct = distinct[torch.randperm(len(distinct), device=out.device)]
        chosen = distinct.repeat(-(-self.codes // len(distinct)), 1)[: self.codes]
        noise = 0.1 * pieces.std(0) * torch.randn_like(chosen)
        noise[: len(distinct)] = 0
        self.codebook.copy_(chosen + noise)
        self.sums.copy_(self.codebook)
        self.counts.fill_(1)

    def _pieces(self, out: Tensor) -> Tensor:
        return out.unflatten(-1, (-1, self.dim))

    @torch.no_grad()
    def _follow(self, vectors: Tensor, indices: Tensor) -> None:
        """Move the codebook after vectors (M, dim) that chose the codes of indices (M,)."""
        chosen = one_hot(indices, self.codes).to(vectors)
        self.counts.lerp_(sum_over_processes(chosen.sum(0)), 1 - self.decay)
        self.sums.lerp_(sum_over_processes(chosen.T @ vectors), 1 - self.decay)
        total = self.counts.sum()
        smooth = (self.counts + self.epsilon) / (total + self.codes * self.epsilon) * total
        self.codebook.copy_(self.sums / smooth.unsqueeze(-1))
        if self.revive:
            self._revive(vectors)

    def _revive(self, vectors: Tensor) -> None:
        """Codes that next to nothing chooses start again, counted as the mean code is."""
        picked = torch.randint(len(vectors), (self.codes,), device=vectors.device)
        fresh, mean = broadcast_from_first_process(vectors[picked]), self.counts.mean()
        dead = self.counts < self.revive * mean
        self.counts.copy_(torch.where(dead, mean, self.counts))
        dead = dead.unsqueeze(-1)
        self.codebook.copy_(torch.where(dead, fresh, self.codebook))
        self.sums.copy_(torch.where(dead, mean * fresh, self.sums))


def _check_share(**settings: float) -> None:
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise ValueError(f"posterior.{name}={value}: it must lie in [0, 1)")
