"""The contract of a prior p(z)."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaelab.posteriors.base import Posterior
from vaelab.runtime.errors import UserError


class Prior(nn.Module):
    """A distribution over z, fixed or learned.

    Arguments:
        latent_dim: The number of latent dimensions.
        shape: The shape of one x, for priors with pseudo-inputs or a grid.

    Attributes:
        support: The set of possible z, which must equal the support of the posterior. None for a
            mixture of posteriors, whose support is that of the posterior.
        latent_shape: (c, *grid) for latents that form feature maps, see `VAE.latent_shape`. The VAE
            sets it before `prepare`.
        has_own_loss: True if the prior is trained by `compute_loss` on the latents of a finished
            run, and not by the KL.
        has_exact_density: True if log p(z) is exact, up to rounding or the error of a solver. If
            it is an estimate, the ELBO is one too, and there is no bound by importance sampling.
        classes: The number of classes of labels that samples can be given; None for no labels.
    """

    support: Constraint | None
    has_own_loss = False
    has_exact_density = True
    classes: int | None = None

    def __init__(self, latent_dim: int, shape: Sequence[int]):
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = tuple(shape)
        self.latent_shape: tuple[int, ...] = (latent_dim,)

    def prepare(self, posterior: Posterior) -> None:
        """Check the posterior and build the parts that depend on it; called once, by the VAE.

        Raises:
            UserError: If the prior cannot be combined with this posterior.
        """

    def check_encoder(self, encoder: nn.Module) -> None:
        """Check that the prior can use this encoder; called once, by the VAE.

        Raises:
            UserError: If it cannot.
        """

    @abstractmethod
    def forward(self, encode: Callable[..., Distribution]) -> Distribution:
        """Return p(z) with event shape (latent_dim,).

        A prior over codebook indices returns p(c) with event shape (n,); `Posterior.prior_on_z`
        turns it into p(z).

        Arguments:
            encode: Maps x to q(z|x); used by the VampPrior.
        """

    def initialize(self, x: Tensor) -> None:
        """Initialize the parameters from training images x (N, *shape)."""

    def standardize(self, z: Tensor) -> None:
        """Keep what standardizes latents z (N, latent_dim); for a prior with a loss of its own."""

    def compute_loss(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Compute the loss (B,) of a prior with a loss of its own.

        Arguments:
            z: Samples (B, latent_dim) of q(z|x).
            y: The labels (B,) of x, if there are any.
        """
        raise NotImplementedError

    def condition_on(self, y: Tensor) -> Distribution:
        """Return p(z|y) with batch shape (B,) for labels y (B,), if `classes` is not None."""
        raise NotImplementedError


def check_at_least_one(**settings: int) -> None:
    """Raise a ValueError unless all settings are at least 1."""
    for name, value in settings.items():
        if value < 1:
            raise UserError(f"prior.{name}={value}: it must be at least 1")
