"""Where two sets of features cover each other: fidelity and diversity apart.

References: Improved Precision and Recall Metric for Assessing Generative Models (Kynkaanniemi et
al., 2019), equation 1, arXiv:1904.06991; Reliable Fidelity and Diversity Metrics for Generative
Models (Naeem et al., 2020), equations 3 and 4, arXiv:2002.09797
"""

from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 5
ROWS = 1000  # of a matrix of distances at once


class SupportMetrics(NamedTuple):
    """What ball means: around a feature, as far as its k-th nearest neighbour in its own set.

    Attributes:
        precision: The part of the new features that lie in a ball of a real one.
        recall: The part of the real features that lie in a ball of a new one.
        density: How many balls of real features a new one lies in, divided by k; about 1 where both
            sets are of one distribution.
        coverage: The part of the real features whose ball holds a new one.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def compute_support(real: Tensor, new: Tensor, k: int = NEIGHBOURS) -> SupportMetrics:
    """Of real features (N, D) and new ones (M, D), N and M above k."""
    real, new = real.double(), new.double()
    real_radii, new_radii = neighbour_radii(real, k), neighbour_radii(new, k)
    balls = torch.zeros(len(new), dtype=torch.long, device=new.device)  # that a new one lies in
    recalled, covered = [], []
    for part, radius in zip(real.split(ROWS), real_radii.split(ROWS), strict=True):
        distances = torch.cdist(part, new)
        inside = distances <= radius[:, None]
        balls += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((distances <= new_radii).any(1))
    return SupportMetrics(
        precision=_part(balls > 0),
        recall=_part(torch.cat(recalled)),
        density=balls.double().mean().item() / k,
        coverage=_part(torch.cat(covered)),
    )


def neighbour_radii(x: Tensor, k: int = NEIGHBOURS) -> Tensor:
    """The distance of each of x (N, D) to its k-th nearest neighbour among the others, (N,)."""
    found = []
    for part in x.split(ROWS):
        found.append(torch.cdist(part, x).kthvalue(k + 1, dim=1).values)  # it is its own first
    return torch.cat(found)


def _part(true: Tensor) -> float:
    return true.double().mean().item()
