"""Disentanglement, completeness and informativeness of codes.

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
LEAF = 5  # codes, at least


class DCI(NamedTuple):
    """All between 0 and 1, at 1 for a code with one dimension for each factor.

    disentanglement: Whether a dimension matters to one factor only. completeness: Whether a factor
    is read from one dimension only. informativeness: How well factors that were not fitted are
    predicted, the accuracy for those without order and R^2 for the others.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(
    codes: Tensor,
    factors: Tensor,
    new_codes: Tensor,
    new_factors: Tensor,
    unordered: Collection[int] = (),
    seed: int = 0,
) -> DCI:
    """From the importances R (D, K) of dimensions in random forests that predict each factor.

    A forest is of TREES trees that consider every dimension at every split and have LEAF codes in a
    leaf or more, fitted to codes (N, D) and factors (N, K) and scored on the new ones. On codes
    that know nothing, disentanglement and completeness are near 0 and informativeness is the share
    of the commonest value for a factor without order and 0 for the others.
    """
    importances, scores = [], []
    for number in progress_bar(range(factors.shape[1]), "forests"):
        forest = _forest(number not in unordered, seed)
        forest.fit(codes.numpy(), factors[:, number].numpy())
        importances.append(torch.from_numpy(forest.feature_importances_))
        scores.append(max(0.0, forest.score(new_codes.numpy(), new_factors[:, number].numpy())))
    of = torch.stack(importances, 1)
    return DCI(disentanglement(of), disentanglement(of.T), sum(scores) / len(scores))


def disentanglement(importances: Tensor) -> float:
    """Mean of 1 - H(P_d) / ln K over rows of R (D, K), with P_dk = R_dk / sum_j R_dj.

    Rows are weighted by their share of R. Of the transpose it is the completeness.
    """
    rows = importances.sum(1, keepdim=True)
    p = importances / rows.clamp(min=torch.finfo(rows.dtype).tiny)
    entropy = torch.special.entr(p).sum(1) / math.log(max(2, p.shape[1]))
    return ((1 - entropy) * rows.squeeze(1)).sum().item() / rows.sum().item()


def _forest(ordered: bool, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind: Any = RandomForestRegressor if ordered else RandomForestClassifier
    return kind(TREES, max_features=1.0, min_samples_leaf=LEAF, random_state=seed)
