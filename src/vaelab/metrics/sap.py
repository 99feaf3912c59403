"""The separated attribute predictability (SAP) score.

Reference: Variational Inference of Disentangled Latent Concepts from Unlabeled Observations (Kumar
et al., 2018), section 3, arXiv:1711.00848
"""

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn.functional import pad


def sap(latents: Tensor, factors: Tensor, unordered: Collection[int] = ()) -> float:
    """Compute the mean over factors of the gap between the two dimensions that predict it best.

    The score of a dimension is its squared correlation with the factor. For an unordered factor it
    is the balanced accuracy of thresholds on the dimension, which a decision tree with one leaf per
    value fits to the same latents. Unlike in the paper, the accuracy is rescaled so that chance is
    0: the gap is 1 if one dimension determines the factor and the others carry no information, and
    0 if two dimensions predict it equally well.

    Arguments:
        latents: (N, D).
        factors: (N, K), integers, each with at least two values.
        unordered: The indices of factors whose values have no order.
    """
    gaps = []
    for number, v in enumerate(factors.T):
        score = _balanced_accuracy if number in unordered else _squared_correlation
        scores = torch.stack([score(z.double(), v) for z in latents.T])
        first, second = pad(scores, (0, 1)).topk(2).values
        gaps.append(first - second)
    return torch.stack(gaps).mean().item()


def _squared_correlation(z: Tensor, v: Tensor) -> Tensor:
    """Compute cov(z, v)^2 / (var z var v), or 0 for a constant z."""
    z, v = z - z.mean(), v - v.double().mean()
    return ((z * v).sum() ** 2 / (z.square().sum() * v.square().sum())).nan_to_num()


def _balanced_accuracy(z: Tensor, v: Tensor) -> Tensor:
    """Compute the balanced accuracy of a tree that predicts v from z, rescaled to 0 for chance."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    leaves = len(v.unique())
    x, y = z.unsqueeze(1).numpy(), v.numpy()
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=0)
    predictions = tree.fit(x, y).predict(x)
    return torch.tensor(balanced_accuracy_score(y, predictions, adjusted=True)).double()
