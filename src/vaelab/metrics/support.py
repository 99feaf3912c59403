"""Precision, recall, density and coverage: separate measures of fidelity and diversity.

References: Improved Precision and Recall Metric for Assessing Generative Models (Kynkaanniemi et
al., 2019), equation 1, arXiv:1904.06991; Reliable Fidelity and Diversity Metrics for Generative
Models (Naeem et al., 2020), equations 3 and 4, arXiv:2002.09797
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.runtime.precision import to_double

DEFAULT_NEIGHBOURS = 5
CHUNK_ROWS = 1000  # rows of the distance matrix in one chunk


class SupportMetrics(NamedTuple):
    """Metrics of new features against real ones.

    The ball of a feature reaches to its k-th nearest neighbour in its own set.

    Attributes:
        precision: The fraction of new features that lie in the ball of a real one.
        recall: The fraction of real features that lie in the ball of a new one.
        density: The mean number of balls of real features that a new one lies in, divided by k;
            about 1 if both sets have the same distribution.
        coverage: The fraction of real features whose ball contains a new one.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def compute_support(real: Tensor, new: Tensor, k: int = DEFAULT_NEIGHBOURS) -> SupportMetrics:
    """Compute the metrics of new features against real ones.

    Arguments:
        real, new: (N, D) and (M, D), with N and M above k.
        k: The number of the neighbour that a ball reaches to.
    """
    real, new = to_double(real), to_double(new)
    real_radii, new_radii = neighbour_radii(real, k), neighbour_radii(new, k)
    balls = torch.zeros(len(new), dtype=torch.long, device=new.device)  # that contain a new one
    recalled, covered = [], []
    for chunk, radius in zip(real.split(CHUNK_ROWS), real_radii.split(CHUNK_ROWS), strict=True):
        distances = torch.cdist(chunk, new)
        is_inside = distances <= radius[:, None]
        balls += is_inside.sum(0)
        covered.append(is_inside.any(1))
        recalled.append((distances <= new_radii).any(1))
    return SupportMetrics(
        precision=_fraction(balls > 0),
        recall=_fraction(torch.cat(recalled)),
        density=balls.double().mean().item() / k,
        coverage=_fraction(torch.cat(covered)),
    )


def neighbour_radii(x: Tensor, k: int = DEFAULT_NEIGHBOURS) -> Tensor:
    """Compute the distance (N,) of each of x (N, D) to its k-th nearest neighbour in x."""
    radii = []
    for chunk in x.split(CHUNK_ROWS):  # the nearest feature is the feature itself
        radii.append(torch.cdist(chunk, x).kthvalue(k + 1, dim=1).values)
    return torch.cat(radii)


def _fraction(condition: Tensor) -> float:
    return condition.double().mean().item()
