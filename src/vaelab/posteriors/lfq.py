"""Lookup-free quantization, the signs of the encoder output: `posterior=lfq`.

Reference: Language Model Beats Diffusion: Tokenizer is Key to Visual Generation (Yu et al., 2023),
section 3.1, arXiv:2310.05737
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from vaelab.distributions.codebook import QuantizedCodes
from vaelab.posteriors.base import check_count
from vaelab.posteriors.quantizer import Quantizer, check_is_multiple
from vaelab.runtime.distributed import mean_over_processes
from vaelab.runtime.errors import UserError

MOST_BITS = 18
SMALLEST_PROBABILITY = 1e-20


class LFQ(Quantizer):
    """The point mass at the signs of the encoder output.

    The encoder output is split into vectors v of length `bits`, and z = sign(v). The codebook is
    fixed: the K = 2^bits vectors of signs. The index of a code is a binary number, with number 1 of
    the vector as the highest digit. A sample has the straight-through gradient, and the loss

        entropy sum_v (H(p(c|v)) - diversity H(mean_v p(c|v)))

    with p(c|v) proportional to exp(-|v - c|^2 / temperature) makes each vector certain of its code
    and the codes of a batch of all processes equally frequent. Both entropies are exact: that of
    p(c|v) is a sum over bits, because its bits are independent, and the mean over vectors is a
    product of matrices of two halves of the bits.

    Arguments:
        latent_dim: The length of z, a multiple of bits.
        bits: The length of a code, at most 18.
        entropy: The weight of the entropies, which are in nats and summed over the codes of z.
        diversity: The weight of the entropy of the mean, relative to the first.
        temperature: The squared distance over which p(c|v) falls by a factor of e.

    Raises:
        UserError: If latent_dim is not a multiple of bits or an argument is out of range.
    """

    length_setting = "posterior.bits"
    codebook: Tensor
    basis: Tensor

    def __init__(
        self,
        latent_dim: int,
        bits: int = 10,
        entropy: float = 1.0,
        diversity: float = 1.0,
        temperature: float = 0.01,
    ):
        super().__init__()
        check_count("bits", bits)
        if bits > MOST_BITS:
            raise UserError(f"posterior.bits={bits}: it must be at most {MOST_BITS}")
        check_is_multiple(latent_dim, bits, f"posterior.bits={bits}")
        for name, value in (("entropy", entropy), ("diversity", diversity)):
            if not 0 <= value < math.inf:
                raise UserError(f"posterior.{name}={value}: it must be finite and not negative")
        if not 0 < temperature < math.inf:
            raise UserError(f"posterior.temperature={temperature}: it must be positive and finite")
        self.inputs, self.dim, self.codes = latent_dim, bits, 2**bits
        self.entropy, self.diversity, self.temperature = entropy, diversity, temperature
        basis = 2 ** torch.arange(bits - 1, -1, -1)
        signs = 2.0 * (torch.arange(self.codes).unsqueeze(-1) // basis % 2) - 1
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("codebook", signs, persistent=False)

    def forward(self, out: Tensor) -> QuantizedCodes:
        vectors = self._split(out)
        indices = ((vectors > 0).long() * self.basis).sum(-1)
        return QuantizedCodes(out, indices, self.codebook, self._compute_entropy_loss(vectors))

    def get_codebook(self) -> Tensor:
        return self.codebook

    def _compute_entropy_loss(self, vectors: Tensor) -> Tensor | None:
        """Compute the loss (*) of vectors (*, n, bits); None without one."""
        if not self.entropy:
            return None
        logits = 4 / self.temperature * vectors  # of each bit being 1
        certainty = (softplus(logits) - logits * logits.sigmoid()).sum(-1)
        mean = compute_mean_code_probabilities(logits.flatten(0, -2).sigmoid())
        if self.training and torch.is_grad_enabled():
            # Each process has the gradient of its own vectors, and gradients are averaged.
            mean = mean + (mean_over_processes(mean) - mean.detach())
        use = -(mean * mean.clamp(min=SMALLEST_PROBABILITY).log()).sum()
        return self.entropy * (certainty - self.diversity * use).sum(-1)


def compute_mean_code_probabilities(probabilities: Tensor) -> Tensor:
    """Compute the mean over vectors of the probabilities (K,) of codes with independent bits.

    Arguments:
        probabilities: The probability (N, bits) that each bit is 1; the first bit is the highest.
    """
    halves = probabilities.tensor_split(2, -1)
    first, second = (_multiply_bits(half) for half in halves)
    return (first.T @ second).flatten() / len(probabilities)


def _multiply_bits(probabilities: Tensor) -> Tensor:
    """Compute the probabilities (N, 2^bits) of all combinations of independent bits (N, bits)."""
    joint = probabilities.new_ones(len(probabilities), 1)
    for p in probabilities.unsqueeze(-1).unbind(1):
        joint = torch.stack([joint * (1 - p), joint * p], -1).flatten(-2)
    return joint
