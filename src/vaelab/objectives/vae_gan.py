"""Reconstruction in the feature space of a critic: `objective=vae_gan`, the VAE/GAN.

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
from vaelab.objectives.adversarial import check_critic_learning_rate, discriminator_loss
from vaelab.objectives.base import (
    Objective,
    apply_spectral_norm,
    check_at_least_one,
    check_no_missing_values,
    check_no_parameters,
    check_non_negative,
    frozen,
    sample_prior,
    sample_with_kl,
)
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE

MIN_STD = 1e-3  # the smallest standard deviation that a feature is divided by
STD_MOMENTUM = 0.1  # the weight of a batch in the running standard deviation


class VAEGAN(Objective):
    """Encoder, decoder and critic each minimise a loss of their own.

        encoder    weighted KL + F
        decoder    gamma F - log D(y) - log D(y_p)
        critic     -log D(x) - log(1 - D(y)) - log(1 - D(y_p))
        F = sum_i (f_i(x) - f_i(y))^2 / (2 scale^2 s_i^2)

    y is the mean of p(x|z) for z ~ q(z|x), and y_p that for z ~ p(z). D(x) is the probability that
    the critic gives to an image of being from the data, and f its last hidden layer. s_i is the
    standard deviation of f_i(x).

    Differences from the paper: s_i is a running estimate over batches instead of batch
    normalization, because the features of a last batch of two images have almost no variance. The
    decoder minimises -log D(y) instead of log(1 - D(y)), whose gradient vanishes if the critic is
    confident. Spectral normalization keeps the critic smooth (Miyato et al., 2018,
    arXiv:1802.05957).

    The ELBO of the pixels is logged, but no part of the loss trains p(x|z) as a density. The best
    weights are chosen by it, with the final weight of the KL: F is no criterion, because the
    critic changes its features from step to step. With
    binarized images the critic recognises y by its non-binary pixels: set data.binarize=none.

    Arguments:
        kl: The weighting of the KL.
        critic: A network factory, called with data.shape and the number of features.
        features: The number of features f_i.
        scale: The standard deviation of f_i(x) given z, in units of s_i; 1 in the paper, whose
            critic has thousands of features.
        gamma: The weight of F in the loss of the decoder.
        lr: The learning rate of the critic. If it is as high as that of the decoder, the decoder
            cannot keep up with the critic.

    Raises:
        UserError: If a setting is out of range.
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
        check_non_negative(gamma=gamma)
        if not scale > 0:
            raise UserError(f"objective.scale={scale}: it must be above 0")
        check_critic_learning_rate(lr)
        self.kl, self.scale, self.gamma, self.lr, self.make_critic = kl, scale, gamma, lr, critic
        self.verdict = spectral_norm(nn.Linear(features, 1))
        self.register_buffer("deviation", torch.zeros(features))  # 0 until the first batch

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        check_no_missing_values(vae, "vae_gan")
        if len(vae.shape) not in (2, 3, 4):
            raise UserError(
                "objective=vae_gan needs series (C, L), images (C, H, W) or volumes (C, D, H, W) "
                "for its critic, but "
                f"data.shape={list(vae.shape)}: set another objective, such as elbo"
            )
        check_no_parameters(
            vae.likelihood,
            "objective=vae_gan would not train the scale of the likelihood: set loss=bce",
        )
        self.critic = self.make_critic(vae.shape, self.verdict.in_features)
        for layer in list(self.critic.modules()):
            if isinstance(getattr(layer, "weight", None), Tensor):
                apply_spectral_norm(layer)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        p = vae.latents()
        z, kl = sample_with_kl(vae.encode(x), p)
        with frozen(vae.decoder, self):
            p_x = vae.decode(z)
            x_features = self.critic(x)
            scale = self._feature_scale(x_features.detach())
            encoder = self.kl(kl, step) + _feature_error(x_features, self.critic(p_x.mean), scale)
        y_prior = vae.decode(sample_prior(p, len(z))).mean
        y = vae.decode(z.detach()).mean
        with frozen(self):
            y_features = self.critic(y)
            features = _feature_error(x_features, y_features, scale)
            fooling = softplus(-self._classify(y_features)) + softplus(
                -self._classify(self.critic(y_prior))
            )
        images = (x, y.detach(), y_prior.detach())
        critic = discriminator_loss(*(self._classify(self.critic(image)) for image in images))
        reconstruction = -p_x.log_prob(x)
        terms = {
            "loss": encoder + self.gamma * features + fooling + critic,
            "reconstruction": reconstruction,
            "kl": kl.sum(-1),
            "elbo": -(reconstruction + kl.sum(-1)),
            "features": features,
            "fooling": fooling,
            "critic": critic,
            "kl_weight": x.new_full((), self.kl.weight(step)),
        }
        if not self.kl.is_plain:
            terms["criterion"] = -(reconstruction + self.kl(kl, self.kl.final_step)).detach()
        return terms

    def _classify(self, features: Tensor) -> Tensor:
        """Compute the logits (B,) of D from features (B, features) of images."""
        return self.verdict(leaky_relu(features, 0.2)).squeeze(-1)

    def _feature_scale(self, features: Tensor) -> Tensor:
        """Return scale * s_i (features,); in training, first update s_i from these (B, features).

        Before the first update, s_i is the standard deviation over this batch.
        """
        batch_std = features.std(0, correction=0).to(self.deviation)
        is_updated = self.deviation.any()
        if self.training and len(features) > 1:
            momentum = torch.where(is_updated, STD_MOMENTUM, 1.0).to(batch_std)
            self.deviation.lerp_(batch_std, momentum)
            is_updated = self.deviation.any()
        return self.scale * torch.where(is_updated, self.deviation, batch_std).clamp(min=MIN_STD)


def _feature_error(x_features: Tensor, y_features: Tensor, scale: Tensor) -> Tensor:
    """Compute F (B,) from the features (B, features) of images and of their reconstructions."""
    return ((x_features - y_features) / scale).square().sum(-1) / 2
