"""The ELBO, a perceptual distance and a patch critic: `objective=perceptual`.

References:
    Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2021), equations 5 to 7,
    arXiv:2012.09841
    High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022), appendix G,
    arXiv:2112.10752
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaelab.features.perceptual import (
    LPIPS,
    PerceptualDistance,
    has_lpips,
    load_perceptual_distance,
)
from vaelab.kl.base import KLWeighting
from vaelab.objectives.adversarial import check_critic_learning_rate, discriminator_loss
from vaelab.objectives.base import (
    apply_spectral_norm,
    check_no_missing_values,
    check_non_negative,
    frozen,
    sample_with_kl,
)
from vaelab.objectives.elbo import ELBO
from vaelab.runtime.errors import UserError
from vaelab.runtime.slurm import is_worker_rank

if TYPE_CHECKING:
    from vaelab.vae import VAE

DELTA = 1e-6  # added to the norm of a gradient
MAX_ADAPTIVE_WEIGHT = 1e6  # the authors' 1e4 is for means over pixels, not for sums
AUTO = "auto"


class Perceptual(ELBO):
    """The weighted ELBO with two more terms, which make images sharper.

        loss = E + weighted KL + critic_weight lambda G + critic
        E = -log p(x|z) + weight P,    z ~ q(z|x)
        P = n d(x, y)
        G = -log D(y)
        critic = -log D(x) - log(1 - D(y))
        lambda = |dE/dw| / (|dG/dw| + 1e-6)

    y is the mean of p(x|z), n the number of values of x, and d the distance of
    features/perceptual.py. D is the probability that the critic gives to a patch of being from the
    data; its logarithms are means over patches. w are the weights of the last layer of the decoder,
    and lambda, at most 1e6, is computed from the means over a batch. It has no gradient. lambda,
    G and the loss of the critic are 0 in the first `critic_start` steps. The weights of E and the
    KL are those of nats per image.

    Differences from the paper: spectral normalization keeps the critic smooth instead of batch
    normalization, and the decoder minimises -log D(y) instead of log(1 - D(y)), see
    objectives/vae_gan.py.

    The best weights are chosen by E plus the KL with its final weight, among those of steps with
    the critic. An evaluation leaves lambda, G and the loss of the critic out of the loss. With
    weight=0 and critic_weight=0 it is objective=elbo.

    Arguments:
        kl: The weighting of the KL.
        critic: A network factory, called with data.shape. It returns logits (B, patches).
        weight: The weight of P.
        network: The network of the distance: lpips, digits, clothes or objects. "auto" is lpips if
            the package and its weights are installed, and else the network of the data set.
        critic_weight: The weight of G relative to E; 0 means no critic.
        critic_start: The number of steps without the critic.
        lr: The learning rate of the critic.
        decoder_only: Train the decoder of a finished run; encoder, posterior and prior are frozen.

    Raises:
        UserError: If a setting is out of range.
    """

    critic: nn.Module

    def __init__(
        self,
        kl: KLWeighting,
        critic: Callable[..., nn.Module],
        weight: float = 1.0,
        network: str = AUTO,
        critic_weight: float = 0.5,
        critic_start: int = 0,
        lr: float = 1e-4,
        decoder_only: bool = False,
    ):
        super().__init__(kl)
        check_non_negative(weight=weight, critic_weight=critic_weight, critic_start=critic_start)
        check_critic_learning_rate(lr)
        self.weight, self.network = weight, network
        self.critic_weight, self.critic_start = critic_weight, critic_start
        self.lr, self.make_critic = lr, critic
        self.decoder_only = self.needs_start = decoder_only
        self.trains_bound = not (weight or critic_weight)
        self._distance: list[PerceptualDistance] = []  # in a list, so that it is in no checkpoint
        self._is_announced = False

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if self.decoder_only:
            if vae.layered:
                raise UserError(
                    "objective.decoder_only=true: the decoder of this model contains layers of its "
                    "posterior and prior: set model=autoencoder, or another with one layer of z"
                )
            for part in (vae.encoder, vae.posterior, vae.prior):
                part.requires_grad_(False)
        if self.trains_bound:
            return
        check_no_missing_values(vae, "perceptual")
        if len(vae.shape) != 3 or vae.shape[0] not in (1, 3):
            raise UserError(
                "objective=perceptual compares images (C, H, W) with 1 or 3 channels, but "
                f"data.shape={list(vae.shape)}: set another objective, such as elbo"
            )
        if self.weight:
            self.network = choose_network(
                self.network, "digits" if vae.shape[0] == 1 else "objects"
            )
            self._distance = [load_perceptual_distance(self.network)]
        if self.critic_weight:
            self.critic = self.make_critic(vae.shape)
            for layer in list(self.critic.modules()):
                if isinstance(getattr(layer, "weight", None), Tensor):
                    apply_spectral_norm(layer)

    def check_range(self, low: float, high: float) -> None:
        if self.weight and (low < 0 or high > 1):
            raise UserError(
                "objective=perceptual compares pixels in [0, 1], but the pixels of the data lie in "
                f"[{low:g}, {high:g}]: scale them to [0, 1] (data.scale divides arrays), or set "
                "objective.weight=0"
            )

    def check_training(self, vae: "VAE") -> None:
        if self._distance and not self._is_announced and not is_worker_rank():
            print(f"perceptual term: {self._distance[0].description}")
        self._is_announced = True

    def has_arrived(self, steps: int) -> bool:
        return super().has_arrived(steps) and not (
            self.critic_weight and steps <= self.critic_start
        )

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z, kl = self._sample(vae, x)
        p = vae.decode(z)
        terms = self.compute_terms(-p.log_prob(x), kl, step)
        if self.trains_bound:
            return terms
        error, y = terms["reconstruction"], p.mean
        if self.weight:
            terms["perceptual"] = math.prod(vae.shape) * self._compute_distance(x, y)
            terms["loss"] = terms["loss"] + self.weight * terms["perceptual"]
            error = error + self.weight * terms["perceptual"]
        terms["criterion"] = -(error + self.kl(kl, self.kl.final_step)).detach()
        if not self.critic_weight:
            return terms
        if step < self.critic_start:
            return terms | {"loss": terms["loss"] + _zero_of(self.critic)}
        return self._add_critic(terms, error, x, y, vae.decoder.output.weight)

    def _sample(self, vae: "VAE", x: Tensor) -> tuple[Tensor, Tensor]:
        """Sample z (B, D) from q(z|x), and compute its KL."""
        if not self.decoder_only:
            return sample_with_kl(vae.encode(x), vae.latents())
        for part in (vae.encoder, vae.posterior, vae.prior):
            part.eval()
        with torch.no_grad():
            return sample_with_kl(vae.encode(x), vae.latents())

    def _compute_distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute d (B,) of images x and y (B, C, H, W)."""
        return self._distance[0].to(x.device, y.dtype)(x.to(y.dtype), y)

    def _add_critic(
        self, terms: dict[str, Tensor], error: Tensor, x: Tensor, y: Tensor, last: Tensor
    ) -> dict[str, Tensor]:
        """Return the terms with those of the critic.

        Arguments:
            error: E (B,).
            last: The weights of the last layer of the decoder.
        """
        with frozen(self):
            fooling = softplus(-self.critic(y)).mean(1)
        critic = discriminator_loss(self.critic(x), self.critic(y.detach()))
        terms |= {"fooling": fooling, "critic": critic}
        if not (torch.is_grad_enabled() and fooling.requires_grad):
            return terms
        weight = compute_adaptive_weight(error.mean(), fooling.mean(), last)
        loss = terms["loss"] + self.critic_weight * weight * fooling + critic
        return terms | {"loss": loss, "adaptive_weight": weight}


def compute_adaptive_weight(error: Tensor, fooling: Tensor, last: Tensor) -> Tensor:
    """Compute lambda (): the ratio of the gradients' norms of two losses () by weights `last`.

    Reference: equation 7 of Esser et al., 2021
    """
    norms = [
        torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (error, fooling)
    ]
    return (norms[0] / (norms[1] + DELTA)).clamp(max=MAX_ADAPTIVE_WEIGHT).detach()


def choose_network(name: str, built_in: str) -> str:
    """Return the network that "auto" means: lpips if it is installed, or the built-in one."""
    if name != AUTO:
        return name
    return LPIPS if has_lpips() else built_in


def _zero_of(network: nn.Module) -> Tensor:
    """Return 0, with a gradient of 0 for every parameter, which distributed training waits for."""
    return torch.stack([0 * parameter.sum() for parameter in network.parameters()]).sum()
