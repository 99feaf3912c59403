"""The total correlation, weighted, by a critic: `objective=factor`, the FactorVAE.

Reference: Disentangling by Factorising (Kim and Mnih, 2018), equations 2 and 3, algorithm 2,
arXiv:1802.05983
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from vaelab.kl.base import KLWeighting
from vaelab.objectives.adversarial import check_critic_lr, discriminator_loss
from vaelab.objectives.base import check_not_negative, frozen, sample_with_kl
from vaelab.objectives.elbo import ELBO

if TYPE_CHECKING:
    from vaelab.vae import VAE


class Factor(ELBO):
    """-ELBO + gamma TC, TC = E[log q(z) - sum_d log q(z_d)] as the mean logit of a critic.

    The critic tells codes from codes whose dimensions were permuted among the images of the batch;
    at its best its logit is log q(z) / prod_d q(z_d). (The paper permutes a second batch.)

    Arguments:
        critic: A network from codes, called with (latent_dim,) and the number of outputs.
        lr: Of the critic.
    """

    critic: nn.Module

    def __init__(
        self,
        kl: KLWeighting,
        critic: Callable[..., nn.Module],
        gamma: float = 10.0,
        lr: float = 1e-4,
    ):
        super().__init__(kl)
        check_not_negative(gamma=gamma)
        check_critic_lr(lr)
        self.gamma, self.lr, self.make_critic = gamma, lr, critic

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if vae.posterior.support is not constraints.real_vector:
            raise ValueError(
                "objective=factor compares codes with codes whose dimensions were permuted, which "
                f"those of {type(vae.posterior).__name__} cannot be: set posterior=diagonal"
            )
        self.critic = self.make_critic((vae.latent_dim,), 1)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z, kl = sample_with_kl(vae.encode(x), vae.latents())
        terms = self.terms(-vae.decode(z).log_prob(x), kl, step)
        with frozen(self.critic):
            total_correlation = self.critic(z).squeeze(-1)
        z = z.detach()
        critic = discriminator_loss(self.critic(z), self.critic(permute_dimensions(z))) / 2
        terms["loss"] = terms["loss"] + self.gamma * total_correlation + critic
        return terms | {"total_correlation": total_correlation, "critic": critic}


def permute_dimensions(z: Tensor) -> Tensor:
    """Each dimension of codes (B, D) in an order of its own."""
    return z.gather(0, torch.rand_like(z).argsort(0))
