"""Vector quantization with a learned codebook: `posterior=vq`.

References:
    Neural Discrete Representation Learning (van den Oord et al., 2017), equations 1 and 2,
    appendix A.1, arXiv:1711.00937
    Vector-quantized Image Modeling with Improved VQGAN (Yu et al., 2021), arXiv:2110.04627, for
    cosine codes
    Restructuring Vector Quantization with the Rotation Trick (Fifty et al., 2024),
    arXiv:2410.06424
    Addressing Representation Collapse in Vector Quantized Models with One Linear Layer (Zhu et al.,
    2024), arXiv:2411.02038, for SimVQ
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vaelab.distributions.codebook import (
    SMALLEST_NORM,
    QuantizedCodes,
    RotatedCodes,
    find_nearest_codes,
    indices_to_latents,
)
from vaelab.posteriors.base import check_count
from vaelab.posteriors.quantizer import Quantizer, check_is_multiple
from vaelab.runtime.distributed import broadcast_from_first_process, sum_over_processes
from vaelab.runtime.errors import UserError


class VQ(Quantizer):
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
        cosine: Vectors and codes are scaled to length 1, so that the nearest code is the one with
            the largest cosine similarity. z consists of codes of length 1.
        rotation: A sample has the gradient of a rotation and scaling of the encoder output onto its
            codes (the rotation trick) instead of the straight-through gradient.
        simvq: The codes are e_k = W c_k with fixed random c_k and a matrix W, which is trained by
            the loss |sg(v) - e_k|^2 (SimVQ). There are no moving averages, so decay, epsilon and
            revive have no effect.

    Raises:
        UserError: If latent_dim is not a multiple of dim, an argument is out of range, or cosine
            and simvq are both set.
    """

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
        cosine: bool = False,
        rotation: bool = False,
        simvq: bool = False,
    ):
        super().__init__()
        check_count("codes", codes)
        check_count("dim", dim)
        _check_fractions(decay=decay, epsilon=epsilon, revive=revive)
        check_is_multiple(latent_dim, dim, f"posterior.dim={dim}")
        if cosine and simvq:
            raise UserError(
                "posterior.cosine=true and posterior.simvq=true: SimVQ maps the codes by a matrix, "
                "which does not keep their length: set one of them"
            )
        self.inputs, self.codes, self.dim = latent_dim, codes, dim
        self.decay, self.epsilon, self.revive = decay, epsilon, revive
        self.cosine, self.simvq = cosine, simvq
        self.distribution = RotatedCodes if rotation else QuantizedCodes
        codebook = torch.randn(codes, dim)
        if simvq:
            self.register_buffer("codebook", codebook * dim**-0.5)
            self.linear = nn.Linear(dim, dim, bias=False)
            return
        self.register_buffer("codebook", normalize(codebook, dim=-1) if cosine else codebook)
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", self.codebook.clone())

    def forward(self, out: Tensor) -> QuantizedCodes:
        if self.cosine:
            out = self._normalize(self._split(out)).flatten(-2)
        vectors, codebook = self._split(out.detach()), self.get_codebook()
        indices = find_nearest_codes(vectors, codebook.detach())
        if self.simvq:
            distance = (out.detach() - indices_to_latents(indices, codebook)).square().sum(-1)
            return self.distribution(out, indices, codebook.detach(), distance)
        q = self.distribution(out, indices, codebook)
        if self.training and torch.is_grad_enabled():
            self._update_codebook(vectors.flatten(0, -2), indices.flatten())
        return q

    def get_codebook(self) -> Tensor:
        return self.linear(self.codebook) if self.simvq else self.codebook

    @torch.no_grad()
    def initialize(self, out: Tensor) -> None:
        """Initialize the codes with distinct random vectors of encoder outputs (N, latent_dim).

        If there are fewer distinct vectors than codes, the remaining codes are noisy copies. SimVQ
        keeps its random codes.
        """
        if self.simvq:
            return
        vectors = self._split(out).flatten(0, -2)
        vectors = self._normalize(vectors) if self.cosine else vectors
        distinct = vectors.unique(dim=0)
        distinct = distinct[torch.randperm(len(distinct), device=out.device)]
        initial = distinct.repeat(-(-self.codes // len(distinct)), 1)[: self.codes]
        noise = 0.1 * vectors.std(0) * torch.randn_like(initial)
        noise[: len(distinct)] = 0
        self._set_codes(initial + noise)
        self.sums.copy_(self.codebook)
        self.counts.fill_(1)

    def _set_codes(self, codes: Tensor) -> None:
        self.codebook.copy_(self._normalize(codes) if self.cosine else codes)

    @staticmethod
    def _normalize(vectors: Tensor) -> Tensor:
        """Scale vectors (*, dim) to length 1."""
        return normalize(vectors, dim=-1, eps=SMALLEST_NORM)

    @torch.no_grad()
    def _update_codebook(self, vectors: Tensor, indices: Tensor) -> None:
        """Update the codebook with vectors (M, dim) and the indices (M,) of their nearest codes."""
        assignments = vectors.new_zeros(len(indices), self.codes)
        assignments.scatter_(1, indices.unsqueeze(1), 1)
        self.counts.lerp_(sum_over_processes(assignments.sum(0)), 1 - self.decay)
        self.sums.lerp_(sum_over_processes(assignments.T @ vectors), 1 - self.decay)
        total = self.counts.sum()
        smooth = (self.counts + self.epsilon) / (total + self.codes * self.epsilon) * total
        self._set_codes(self.sums / smooth.unsqueeze(-1))
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
