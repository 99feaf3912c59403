"""Reconstruction in the features of a critic of pictures: `objective=vae_gan`.

Reference: Autoencoding beyond Pixels Using a Learned Similarity Metric (Larsen et al., 2016),
algorithm 1, arXiv:1512.09300
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus
from torch.nn.utils.parametrizations import spectral_norm

from vaelab.kl.base import KLWeighting
from vaelab.objectives.adversarial import check_critic_lr, discriminator_loss
from vaelab.objectives.base import (
    Objective,
    check_at_least_one,
    check_no_parameters,
    check_not_negative,
    frozen,
    normalize_spectrally,
    sample_prior,
    sample_with_kl,
)

if TYPE_CHECKING:
    from vaelab.vae import VAE

SMALL = 1e-3  # deviation of a feature, below which it counts as this
NEW = 0.1  # the part of a batch in the running deviation


class VAEGAN(Objective):
    """The encoder: weighted KL + features. The decoder: gamma features + fooling. The critic: -GAN.

    features = sum_i (f_i(x) - f_i(y))^2 / (2 scale^2 s_i^2), for y the mean of p(x|z), f a hidden
    layer of the critic, which tells x from y and from pictures of draws of p(z), and s_i the
    running deviation of f_i(x) over batches, where the paper has batch normalization: that of the
    last batch alone is next to nothing where two images are left for it. fooling is
    -log P(it takes those for x), in place of the paper's log P(it does not), whose gradient
    vanishes where the critic is right. Spectral normalization keeps the critic smooth (Miyato et
    al., 2018, arXiv:1802.05957). The pixels' ELBO is reported too, though nothing here trains
    p(x|z) as a density. To tell bits the critic needs no more than the grey of y: set
    data.binarize=none.

    Arguments:
        critic: A network from pictures, called with data.shape and the number of its features.
        features: That number.
        scale: Of a feature in units of s_i; 1 in the paper, which has thousands of them.
        gamma: The decoder's weight of the features.
        lr: Of the critic; where it learns as fast as the decoder, that does not reach it.
    """

    critic: nn.Module
    deviation: Tensor

    def __init__(
        self,
        kl: KLWeighting,
        critic: Callable[..., nn.Module],
        features: int = 128,
        scale: float = 0.3,
        gamma: float = 1.0,
        lr: float = 1e-5,
    ):
        super().__init__()
        check_at_least_one(features=features)
        check_not_negative(gamma=gamma)
        if not scale > 0:
            raise ValueError(f"objective.scale={scale}: it must be above 0")
        check_critic_lr(lr)
        self.kl, self.scale, self.gamma, self.lr, self.make_critic = kl, scale, gamma, lr, critic
        self.verdict = spectral_norm(nn.Linear(features, 1))
        self.register_buffer("deviation", torch.zeros(features))  # none yet

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if len(vae.shape) != 3:
            raise ValueError(
                f"objective=vae_gan has a critic of pictures (C, H, W), not {list(vae.shape)}"
            )
        check_no_parameters(
            vae.likelihood, "objective=vae_gan would not train the scale: set loss=bce"
        )
        self.critic = self.make_critic(vae.shape, self.verdict.in_features)
        for layer in list(self.critic.modules()):
            if isinstance(getattr(layer, "weight", None), Tensor):
                normalize_spectrally(layer)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        p = vae.latents()
        z, kl = sample_with_kl(vae.encode(x), p)
        with frozen(vae.decoder, self):
            y = vae.decode(z)
            seen = self.critic(x)
            unit = self._unit(seen.detach())
            encoder = self.kl(kl, step) + _distance(seen, self.critic(y.mean), unit)
        drawn = vae.decode(sample_prior(p, len(z))).mean
        again = vae.decode(z.detach()).mean
        with frozen(self):
            seen_again = self.critic(again)
            features = _distance(seen, seen_again, unit)
            fooling = softplus(-self._judge(seen_again)) + softplus(
                -self._judge(self.critic(drawn))
            )
        pictures = (x, again.detach(), drawn.detach())
        critic = discriminator_loss(*(self._judge(self.critic(each)) for each in pictures))
        reconstruction, kl = -y.log_prob(x), kl.sum(-1)
        return {
            "loss": encoder + self.gamma * features + fooling + critic,
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": -(reconstruction + kl),
            "features": features,
            "fooling": fooling,
            "critic": critic,
            "kl_weight": x.new_full((), self.kl.weight(step)),
        }

    def _judge(self, seen: Tensor) -> Tensor:
        """Logits (B,) that pictures with these features (B, features) are of the data."""
        return self.verdict(leaky_relu(seen, 0.2)).squeeze(-1)

    def _unit(self, seen: Tensor) -> Tensor:
        """scale * s_i (features,), which in training takes note of these (B, features)."""
        now, known = seen.std(0, correction=0).to(self.deviation), self.deviation.any()
        if self.training and len(seen) > 1:
            self.deviation.lerp_(now, torch.where(known, NEW, 1.0).to(now))
            known = self.deviation.any()
        return self.scale * torch.where(known, self.deviation, now).clamp(min=SMALL)


def _distance(ours: Tensor, theirs: Tensor, unit: Tensor) -> Tensor:
    """Of the features of images (B, features) and of their reconstructions, (B,)."""
    return ((ours - theirs) / unit).square().sum(-1) / 2
