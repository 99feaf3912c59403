"""The FactorVAE score.

Reference: Disentangling by Factorising (Kim and Mnih, 2018), section 4, arXiv:1802.05983
"""

import torch
from torch import Tensor


def factor_vae(
    latents: Tensor,
    factors: Tensor,
    votes: int = 1000,
    images: int = 100,
    generator: torch.Generator | None = None,
) -> float:
    """Compute how often the least varying dimension identifies the factor that images share.

    For a vote, `images` images are sampled that share a random value of one factor. The vote is the
    dimension with the smallest variance, relative to its variance over all images. Each dimension
    is assigned to the factor with most of its votes, and this assignment predicts the factor of
    new votes. The score is the accuracy of these predictions: 1 if no dimension depends on two
    factors and every factor has a dimension, 1/K if latents and factors are independent. The paper
    predicts the votes that the assignment was made from, which gives independent latents a higher
    score. Constant dimensions are left out.

    Arguments:
        latents: (N, D).
        factors: (N, K), integers.
        votes: The number of votes for the assignment, and again for the score, divided equally
            among the factors.
        images: The number of images in a vote.
        generator: The source of randomness; None is torch's global generator.
    """
    scale = latents.double().std(0, correction=0)
    z = latents.double()[:, scale > 0] / scale[scale > 0]
    if z.shape[1] == 0:
        return 1 / factors.shape[1]
    votes_per_factor = -(-votes // factors.shape[1])
    samples = [_sample_votes(v, 2 * votes_per_factor, images, generator) for v in factors.T]
    dimensions = torch.stack([_least_varying_dimension(z, index) for index in samples])
    training, new = dimensions.split(votes_per_factor, 1)  # both (K, votes_per_factor)
    counts = torch.stack([row.bincount(minlength=z.shape[1]) for row in training])
    truth = torch.arange(len(dimensions)).unsqueeze(1)
    return (counts.argmax(0)[new] == truth).double().mean().item()


def _sample_votes(v: Tensor, votes: int, images: int, generator: torch.Generator | None) -> Tensor:
    """Sample image indices (votes, images); the images of a vote share a value of v (N,)."""
    values, v = v.unique(return_inverse=True)
    order, counts = v.argsort(stable=True), v.bincount()
    first = counts.cumsum(0) - counts
    value = torch.randint(len(values), (votes, 1), generator=generator)
    offset = torch.rand(votes, images, generator=generator, dtype=torch.float64) * counts[value]
    return order[first[value] + offset.long()]


def _least_varying_dimension(z: Tensor, index: Tensor) -> Tensor:
    """Return the dimension of z (N, D) with the smallest variance in each vote (votes,)."""
    return torch.stack([z[vote].var(0).argmin() for vote in index])
