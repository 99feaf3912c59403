"""The adversarial autoencoder: `objective=aae`.

Reference: Adversarial Autoencoders (Makhzani et al., 2016), section 2, arXiv:1511.05644
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import softplus

from vaelab.objectives.adversarial import check_critic_learning_rate, discriminator_loss
from vaelab.objectives.base import (
    Objective,
    check_non_negative,
    check_prior_is_fixed,
    frozen,
    sample_prior,
)

if TYPE_CHECKING:
    from vaelab.vae import VAE


class AAE(Objective):
    """Reconstruction, plus a critic that makes the aggregate posterior q(z) match the prior p(z).

        loss = -log p(x|z) - weight log P(critic takes z for a sample of p(z)),    z ~ q(z|x)

    The critic learns to distinguish samples of q(z) from samples of p(z). The loss has no KL, so
    q(z|x) may be deterministic, and no ELBO is logged. The best weights are chosen by log p(x|z)
    alone, because the terms of the critic are not comparable between steps.

    Arguments:
        critic: A network factory, called with the input shape (latent_dim,) and the number of
            outputs, 1.
        weight: The weight of the adversarial term, which is in nats.
        lr: The learning rate of the critic.

    Raises:
        UserError: If `weight` is negative or not finite, or `lr` is not above 0.
    """

    monitor = "val/log_p"
    critic: nn.Module

    def __init__(self, critic: Callable[..., nn.Module], weight: float = 10.0, lr: float = 1e-3):
        super().__init__()
        check_non_negative(weight=weight)
        check_critic_learning_rate(lr)
        self.weight, self.lr, self.make_critic = weight, lr, critic

    def prepare(self, vae: "VAE") -> None:
        check_prior_is_fixed(vae, self)
        self.critic = self.make_critic((vae.latent_dim,), 1)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z = vae.encode(x).rsample()
        reconstruction = -vae.decode(z).log_prob(x)
        with frozen(self.critic):
            fooling = softplus(-self.critic(z)).squeeze(-1)
        prior_z = sample_prior(vae.latents(), len(z))
        critic = discriminator_loss(self.critic(prior_z), self.critic(z.detach()))
        return {
            "loss": reconstruction + self.weight * fooling + critic,
            "reconstruction": reconstruction,
            "log_p": -reconstruction,
            "fooling": fooling,
            "critic": critic,
        }
