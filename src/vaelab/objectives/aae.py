"""The adversarial autoencoder: `objective=aae`.

Reference: Adversarial Autoencoders (Makhzani et al., 2016), section 2, arXiv:1511.05644
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import softplus

from vaelab.objectives.adversarial import check_critic_lr, discriminator_loss
from vaelab.objectives.base import (
    Objective,
    check_not_negative,
    check_prior_is_fixed,
    frozen,
    sample_prior,
)

if TYPE_CHECKING:
    from vaelab.vae import VAE


class AAE(Objective):
    """reconstruction + weight * -log P(the critic takes z for a draw of p(z)).

    q(z|x) may be deterministic. There is no KL, so no ELBO is logged.

    Arguments:
        critic: A network from codes, called with (latent_dim,) and the number of outputs.
        weight: In nats for one nat of the critic's.
        lr: Of the critic.
    """

    monitor = "val/log_p"
    critic: nn.Module

    def __init__(self, critic: Callable[..., nn.Module], weight: float = 10.0, lr: float = 1e-3):
        super().__init__()
        check_not_negative(weight=weight)
        check_critic_lr(lr)
        self.weight, self.lr, self.make_critic = weight, lr, critic

    def prepare(self, vae: "VAE") -> None:
        check_prior_is_fixed(vae, self)
        self.critic = self.make_critic((vae.latent_dim,), 1)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z = vae.encode(x).rsample()
        reconstruction = -vae.decode(z).log_prob(x)
        with frozen(self.critic):
            fooling = softplus(-self.critic(z)).squeeze(-1)
        p = sample_prior(vae.latents(), len(z))
        critic = discriminator_loss(self.critic(p), self.critic(z.detach()))
        return {
            "loss": reconstruction + self.weight * fooling + critic,
            "reconstruction": reconstruction,
            "log_p": -reconstruction,
            "fooling": fooling,
            "critic": critic,
        }
