"""Disentanglement, completeness and informativeness of latents (DCI).

Reference: A Framework for the Quantitative Evaluation of Disentangled Representations (Eastwood and
Williams, 2018), section 2, https://openreview.net/forum?id=By-7dz-AZ
"""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaelab.runtime.distributed import progress_bar

TREES = 20
MIN_LEAF_SIZE = 5  # latents


class DCI(NamedTuple):
    """The three scores, between 0 and 1; all are 1 for latents with one dimension per factor.

    Attributes:
        disentanglement: The degree to which each dimension matters for one factor only.
        completeness: The degree to which each factor is predicted from one dimension only.
        informativeness: The mean score of the predictions on new latents: the accuracy for
            unordered factors and R^2 for the others.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(
    latents: Tensor,
    factors: Tensor,
    new_latents: Tensor,
    new_factors: Tensor,
    unordered: Collection[int] = (),
    seed: int = 0,
) -> DCI:
    """Compute DCI from the importances R (D, K) of dimensions in random forests for each factor.

    A forest has TREES trees, which consider every dimension at every split and have at least
    MIN_LEAF_SIZE latents in a leaf. If latents and factors are independent, disentanglement and
    completeness are near 0, and informativeness is the frequency of the most common value for an
    unordered factor and 0 for the others.

    Arguments:
        latents, factors: (N, D) and (N, K), to which the forests are fitted.
        new_latents, new_factors: (M, D) and (M, K), on which the forests are scored.
        unordered: The indices of factors whose values have no order.
        seed: The random state of the forests.
    """
    importances, scores = [], []
    for number in progress_bar(range(factors.shape[1]), "forests"):
        forest = _build_forest(number not in unordered, seed)
        forest.fit(latents.numpy(), factors[:, number].numpy())
        importances.append(torch.from_numpy(forest.feature_importances_))
        scores.append(max(0.0, forest.score(new_latents.numpy(), new_factors[:, number].numpy())))
    r = torch.stack(importances, 1)
    return DCI(disentanglement(r), disentanglement(r.T), sum(scores) / len(scores))


def disentanglement(importances: Tensor) -> float:
    """Compute the weighted mean of 1 - H(P_d) / ln K over the rows of importances R (D, K).

    P_dk = R_dk / sum_j R_dj, and the weight of row d is sum_k R_dk / sum_jk R_jk. Applied to the
    transpose of R it gives the completeness.
    """
    rows = importances.sum(1, keepdim=True)
    p = importances / rows.clamp(min=torch.finfo(rows.dtype).tiny)
    entropy = torch.special.entr(p).sum(1) / math.log(max(2, p.shape[1]))
    return ((1 - entropy) * rows.squeeze(1)).sum().item() / rows.sum().item()


def _build_forest(ordered: bool, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind: Any = RandomForestRegressor if ordered else RandomForestClassifier
    return kind(TREES, max_features=1.0, min_samples_leaf=MIN_LEAF_SIZE, random_state=seed)
