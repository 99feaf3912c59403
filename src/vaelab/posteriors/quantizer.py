"""The contract of a posterior whose latents are codes of a codebook: a point mass q(z|x).

KL(q(z|x) || p(z)) = -log p(c) for the indices c of the codes, which is n ln K for prior=codes.
"""

from abc import abstractmethod

from torch import Tensor
from torch.distributions import Distribution

from vaelab.distributions.codebook import EmbeddedCodes, QuantizedCodes, codebook_constraint
from vaelab.posteriors.base import Posterior
from vaelab.runtime.errors import UserError


class Quantizer(Posterior):
    """A posterior that maps the encoder output to codes of one codebook or several.

    Attributes:
        codes: The number K of codes in a codebook.
        dim: The length of the vectors of the encoder output that are quantized.
        code_length: The length of a code in z, so that z consists of latent_dim / code_length
            codes.
        books: The number M of codebooks; code i of z is from codebook i mod M.
        has_commitment: True if the encoder output needs the commitment loss to stay near the codes.
        length_setting: What sets dim, for error messages.
    """

    support = codebook_constraint
    is_random = False
    codes: int
    dim: int
    books = 1
    has_commitment = True
    length_setting = "posterior.dim"

    @property
    def code_length(self) -> int:
        return self.dim

    @abstractmethod
    def forward(self, out: Tensor) -> QuantizedCodes:
        """Return q(z|x), see `Posterior.forward`."""

    @abstractmethod
    def get_codebook(self) -> Tensor:
        """Return the codes (K, code_length), or (M, K, code_length) for M > 1 codebooks."""

    def prior_on_z(self, p: Distribution) -> EmbeddedCodes:
        return EmbeddedCodes(p, self.get_codebook())

    def _split(self, out: Tensor) -> Tensor:
        """Split encoder outputs (*, n dim) into vectors (*, n, dim)."""
        return out.unflatten(-1, (-1, self.dim))


def check_is_multiple(latent_dim: int, length: int, setting: str) -> None:
    """Raise a UserError unless latent_dim is a multiple of the length of a code.

    Arguments:
        setting: What sets the length, such as "posterior.dim=4".
    """
    if latent_dim % length:
        raise UserError(
            f"latent_dim={latent_dim} must be a multiple of {setting} (the length of a code): set "
            f"latent_dim to a multiple, such as latent_dim={5 * length}, or change {setting}"
        )
