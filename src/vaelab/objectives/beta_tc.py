"""The decomposed KL with a weighted total correlation: `objective=beta_tc`, the beta-TCVAE.

Reference: Isolating Sources of Disentanglement in Variational Autoencoders (Chen et al., 2018),
equation 4 and appendix C, arXiv:1802.04942
"""

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from vaelab.objectives.base import Objective, check_non_negative
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.normal import UnitNormal
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE

Estimator = Literal["stratified", "weighted", "full"]


class BetaTC(Objective):
    """The ELBO with its KL decomposed into three terms, each with a weight.

        loss = -log p(x|z) + alpha MI + beta TC + gamma DKL,    z ~ q(z|x)
        MI   = log q(z|x) - log q(z)              mutual information of x and z
        TC   = log q(z) - sum_d log q(z_d)        total correlation
        DKL  = sum_d log q(z_d) - log p(z)        dimension-wise KL

    q(z) is the aggregate posterior, the mean of q(z|x) over the N training images, or in validation
    over the N validation images, estimated from a batch. MI is at most ln N. TC is an estimate that
    may be negative, although the exact one is not. With all weights at 1 the loss is a one-sample
    estimate of minus the ELBO.

    Arguments:
        beta: The weight of the total correlation.
        alpha: The weight of the mutual information.
        gamma: The weight of the dimension-wise KL.
        estimator: How q(z) is estimated from a batch: `stratified` is unbiased; `full` treats the
            batch as the whole data set, is exact if it is, and has MI of at most ln B; `weighted`
            is the simpler estimator of the paper, which is 1/N times `full`. That factor has no
            gradient, and is left out of the terms: with it they would be no information, as TC
            would be larger by (D - 1) ln N.

    Raises:
        UserError: If a weight is negative or not finite.
    """

    trains_bound = False
    min_images = 2

    def __init__(
        self,
        beta: float = 6.0,
        alpha: float = 1.0,
        gamma: float = 1.0,
        estimator: Estimator = "stratified",
    ):
        super().__init__()
        check_non_negative(beta=beta, alpha=alpha, gamma=gamma)
        self.beta, self.alpha, self.gamma = beta, alpha, gamma
        self.estimator: Estimator = estimator
        self.needs_dataset_size = estimator != "full"

    def prepare(self, vae: "VAE") -> None:
        if not isinstance(vae.posterior, Diagonal) or type(vae.prior) is not UnitNormal:
            raise UserError(
                "objective=beta_tc decomposes the KL by dimension, which "
                f"{type(vae.posterior).__name__} with {type(vae.prior).__name__} does not allow: "
                "set posterior=diagonal and prior=normal, and leave model.learned_prior at false"
            )

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        q: Any = vae.encode(x)
        p, z = vae.latents(), q.rsample()
        reconstruction = -vae.decode(z).log_prob(x)
        images = self.count_images(len(x))
        weights = compute_log_weights(self.estimator, len(x), images).to(z)
        shift = math.log(images) if self.estimator == "weighted" else 0.0
        log_q = q.entry_log_prob(z.unsqueeze(1))  # (B of z, B of q, D)
        log_q_zx = log_q.sum(-1).diagonal()
        log_q_z = (weights + log_q.sum(-1)).logsumexp(1) + shift
        log_q_d = (weights.unsqueeze(-1) + log_q).logsumexp(1) + shift
        log_q_product = log_q_d.sum(-1)
        mutual_information, total_correlation = log_q_zx - log_q_z, log_q_z - log_q_product
        dimension_kl = log_q_product - p.log_prob(z)
        kl = kl_divergence(q, p)
        loss = (
            reconstruction
            + self.alpha * mutual_information
            + self.beta * total_correlation
            + self.gamma * dimension_kl
        )
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": -(reconstruction + kl),
            "mutual_information": mutual_information,
            "total_correlation": total_correlation,
            "dimension_kl": dimension_kl,
            "criterion": -loss,
        }

    def count_images(self, batch: int) -> int:
        """Return N, the number of images that a batch of the current stage is a part of."""
        images = self.dataset_size if self.training else self.evaluated_images
        return max(images or batch, batch)


def compute_log_weights(estimator: Estimator, batch: int, images: int) -> Tensor:
    """Compute log w_ij (B, B), with which sum_j w_ij q(z_i|x_j) estimates q(z_i).

    For a batch of B images out of N:

        stratified   1/N for j = i, (N - B + 1)/(N (B - 1)) for one other j, 1/(B - 1) for the rest
        weighted     1/(N B)
        full         1/B

    In the stratified estimate the B - 1 other images of the batch stand for the N - 1 images of the
    data set that are not x_i, so their weights sum to (N - 1)/N.

    Arguments:
        batch: B.
        images: N.
    """
    if estimator == "weighted":
        return torch.full((batch, batch), -math.log(images * batch))
    others = batch - 1
    if estimator == "full" or others == 0:
        return torch.full((batch, batch), -math.log(batch))
    weights = torch.full((batch, batch), 1 / others)
    i = torch.arange(batch)
    weights[i, i] = 1 / images
    weights[i, (i + 1) % batch] = max(images - others, 0) / (images * others)
    return weights.log()
