"""The KL taken apart, the total correlation weighted: `objective=beta_tc`.

Reference: Isolating Sources of Disentanglement in Variational Autoencoders (Chen et al., 2018),
equation 4 and appendix C, arXiv:1802.04942
"""

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from vaelab.objectives.base import Objective, check_not_negative
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.normal import UnitNormal

if TYPE_CHECKING:
    from vaelab.vae import VAE

Estimator = Literal["stratified", "weighted", "full"]


class BetaTC(Objective):
    """reconstruction + alpha MI + beta TC + gamma dimension-wise KL; at 1, 1, 1 minus the ELBO.

    MI = log q(z|x) - log q(z), TC = log q(z) - sum_d log q(z_d), dimension-wise KL =
    sum_d log q(z_d) - log p(z), each at one z of q(z|x), with q(z) the mean of q(z|x) over the
    training images, estimated from a batch.

    Arguments:
        estimator: Of q(z) from a batch. stratified is unbiased; weighted is the paper's simpler
            one; full takes the batch for the data set, and is exact where it is that.
    """

    def __init__(
        self,
        beta: float = 6.0,
        alpha: float = 1.0,
        gamma: float = 1.0,
        estimator: Estimator = "stratified",
    ):
        super().__init__()
        check_not_negative(beta=beta, alpha=alpha, gamma=gamma)
        self.beta, self.alpha, self.gamma = beta, alpha, gamma
        self.estimator: Estimator = estimator

    def prepare(self, vae: "VAE") -> None:
        if not isinstance(vae.posterior, Diagonal) or type(vae.prior) is not UnitNormal:
            raise ValueError(
                "objective=beta_tc takes q(z) and one p(z) of all images apart by dimension: set "
                "posterior=diagonal and prior=normal, and no model.learned_prior"
            )

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        q: Any = vae.encode(x)
        p, z = vae.latents(), q.rsample()
        reconstruction = -vae.decode(z).log_prob(x)
        weights = log_weights(self.estimator, len(x), self.dataset_size or len(x)).to(z)
        log_q = q.elements(z.unsqueeze(1))  # (B of z, B of q, D)
        log_q_zx = log_q.sum(-1).diagonal()
        log_q_z = (weights + log_q.sum(-1)).logsumexp(1)
        log_q_each = (weights.unsqueeze(-1) + log_q).logsumexp(1).sum(-1)
        information, total_correlation = log_q_zx - log_q_z, log_q_z - log_q_each
        dimension_kl = log_q_each - p.log_prob(z)
        kl = kl_divergence(q, p)
        return {
            "loss": reconstruction
            + self.alpha * information
            + self.beta * total_correlation
            + self.gamma * dimension_kl,
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": -(reconstruction + kl),
            "mutual_information": information,
            "total_correlation": total_correlation,
            "dimension_kl": dimension_kl,
        }


def log_weights(estimator: Estimator, batch: int, images: int) -> Tensor:
    """log of w_ij (batch, batch), so that q(z_i) is about sum_j w_ij q(z_i|x_j).

    stratified: 1/N for x_i itself, and for the B - 1 others 1/(B - 1), but (N - B + 1)/(N (B - 1))
    for one of them, which together have the mean of the N - 1 images that are not x_i, with their
    weight (N - 1)/N. weighted: 1/(N B). full: 1/B.
    """
    if estimator == "weighted":
        return torch.full((batch, batch), -math.log(images * batch))
    others = batch - 1
    if estimator == "full" or others == 0:
        return torch.full((batch, batch), -math.log(batch))
    weights = torch.full((batch, batch), 1 / others)
    each = torch.arange(batch)
    weights[each, each] = 1 / images
    weights[each, (each + 1) % batch] = max(images - others, 0) / (images * others)
    return weights.log()
