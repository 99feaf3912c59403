"""The FactorVAE score.

Reference: Disentangling by Factorising (Kim and Mnih, 2018), section 4, arXiv:1802.05983
"""

import torch
from torch import Tensor


def factor_vae(
    codes: Tensor,
    factors: Tensor,
    votes: int = 1000,
    images: int = 100,
    generator: torch.Generator | None = None,
) -> float:
    """How often the dimension that varies least tells which factor is the same in some images.

    A vote: of `images` drawn from those that share a random value of a factor, the dimension with
    the smallest variance relative to that over all images. A dimension stands for the factor that
    most votes for it were of, and other votes are guessed by that. 1 if each factor has dimensions
    of its own, 1 / K on codes that know nothing; guesses of the votes that were counted, as in the
    paper, have a higher floor. Dimensions that are constant are left out.

    Arguments:
        codes: (N, D).
        factors: (N, K), whole numbers.
        votes: That are counted, and as many that are guessed, an equal part for each factor.
    """
    deviation = codes.double().std(0, correction=0)
    z = codes.double()[:, deviation > 0] / deviation[deviation > 0]
    if z.shape[1] == 0:
        return 1 / factors.shape[1]
    each = -(-votes // factors.shape[1])
    drawn = [_alike(v, 2 * each, images, generator) for v in factors.T]
    least = torch.stack([_least(z, index) for index in drawn])  # (K, 2 * each)
    counted, guessed = least.split(each, 1)
    table = torch.stack([row.bincount(minlength=z.shape[1]) for row in counted])
    truth = torch.arange(len(least)).unsqueeze(1)
    return (table.argmax(0)[guessed] == truth).double().mean().item()


def _alike(v: Tensor, votes: int, images: int, generator: torch.Generator | None) -> Tensor:
    """The numbers (votes, images) of images, those of a vote with the same value of v (N,)."""
    values, v = v.unique(return_inverse=True)
    order, counts = v.argsort(stable=True), v.bincount()
    first = counts.cumsum(0) - counts
    value = torch.randint(len(values), (votes, 1), generator=generator)
    place = torch.rand(votes, images, generator=generator, dtype=torch.float64) * counts[value]
    return order[first[value] + place.long()]


def _least(z: Tensor, index: Tensor) -> Tensor:
    """The dimension that varies least in each vote (votes,)."""
    return torch.stack([z[each].var(0).argmin() for each in index])
