"""The ELBO with a total correlation estimated by a critic: `objective=factor`, the FactorVAE.

Reference: Disentangling by Factorising (Kim and Mnih, 2018), equations 2 and 3, algorithm 2,
arXiv:1802.05983
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from vaelab.kl.base import KLWeighting
from vaelab.objectives.adversarial import check_critic_learning_rate, discriminator_loss
from vaelab.objectives.base import check_non_negative, frozen, sample_with_kl
from vaelab.objectives.elbo import ELBO
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE


class Factor(ELBO):
    """The ELBO, plus a weighted total correlation of the aggregate posterior q(z).

        loss = -ELBO + gamma TC,    TC = E_q(z)[log q(z) - sum_d log q(z_d)]

    The critic learns to distinguish latents from latents whose dimensions are permuted over the
    batch. The logit of an optimal critic is log q(z) - sum_d log q(z_d), and its mean estimates TC.
    The paper permutes a second batch; here the permuted latents come from the same batch. The best
    weights are chosen by the ELBO with the final weight of the KL, without the critic's TC.

    Arguments:
        kl: The weighting of the KL.
        critic: A network factory, called with the input shape (latent_dim,) and the number of
            outputs, 1.
        gamma: The weight of the total correlation.
        lr: The learning rate of the critic.

    Raises:
        UserError: If `gamma` is negative or not finite, or `lr` is not above 0.
    """

    critic: nn.Module
    min_images = 2

    def __init__(
        self,
        kl: KLWeighting,
        critic: Callable[..., nn.Module],
        gamma: float = 10.0,
        lr: float = 1e-4,
    ):
        super().__init__(kl)
        check_non_negative(gamma=gamma)
        check_critic_learning_rate(lr)
        self.gamma, self.lr, self.make_critic = gamma, lr, critic

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if vae.posterior.support is not constraints.real_vector:
            raise UserError(
                "objective=factor needs latents whose dimensions can be permuted independently, "
                f"which those of {type(vae.posterior).__name__} cannot: set posterior=diagonal"
            )
        self.critic = self.make_critic((vae.latent_dim,), 1)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z, kl = sample_with_kl(vae.encode(x), vae.latents())
        terms = self.compute_terms(-vae.decode(z).log_prob(x), kl, step)
        with frozen(self.critic):
            total_correlation = self.critic(z).squeeze(-1)
        z = z.detach()
        critic = discriminator_loss(self.critic(z), self.critic(permute_dimensions(z))) / 2
        terms["loss"] = terms["loss"] + self.gamma * total_correlation + critic
        return terms | {"total_correlation": total_correlation, "critic": critic}


def permute_dimensions(z: Tensor) -> Tensor:
    """Permute each dimension of latents (B, D) over the batch, independently of the others."""
    return z.gather(0, torch.rand_like(z).argsort(0))
