"""The separated attribute predictability.

Reference: Variational Inference of Disentangled Latent Concepts from Unlabeled Observations (Kumar
et al., 2018), section 3, arXiv:1711.00848
"""

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn.functional import pad


def sap(codes: Tensor, factors: Tensor, unordered: Collection[int] = ()) -> float:
    """Mean over factors of the gap between the two dimensions that predict it best, one by one.

    The score of a dimension is the squared correlation with a factor. For a factor without order
    it is the balanced accuracy of thresholds on the dimension, fitted to the same codes by a tree
    with a leaf for each value, and rescaled so that chance is 0, which the paper does not do: so
    the gap is 1 if one dimension says all and no other anything, 0 if two say the same.

    Arguments:
        codes: (N, D).
        factors: (N, K), whole numbers, each of at least two values.
        unordered: The factors without order, from 0.
    """
    gaps = []
    for number, v in enumerate(factors.T):
        score = _accuracy if number in unordered else _squared_correlation
        scores = torch.stack([score(z.double(), v) for z in codes.T])
        first, second = pad(scores, (0, 1)).topk(2).values
        gaps.append(first - second)
    return torch.stack(gaps).mean().item()


def _squared_correlation(z: Tensor, v: Tensor) -> Tensor:
    """cov^2 / (var z var v), 0 for a constant z."""
    z, v = z - z.mean(), v - v.double().mean()
    return ((z * v).sum() ** 2 / (z.square().sum() * v.square().sum())).nan_to_num()


def _accuracy(z: Tensor, v: Tensor) -> Tensor:
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    leaves = len(v.unique())
    x, y = z.unsqueeze(1).numpy(), v.numpy()
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=0)
    found = tree.fit(x, y).predict(x)
    return torch.tensor(balanced_accuracy_score(y, found, adjusted=True)).double()
