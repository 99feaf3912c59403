"""What simple readers find in codes: accuracies between 0 and 1, chance being `majority`.

Each fits codes (N, D) with labels (N,) or (N, attributes), whole numbers, and is scored on new
ones. Of attributes it is the mean of their accuracies. Every label has two values or more.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaelab.runtime.distributed import progress_bar

STARTS = 10  # of k-means


class LabelledLatents(NamedTuple):
    """Codes (N, D) and labels (N,) or (N, attributes)."""

    codes: Tensor
    labels: Tensor

    @property
    def columns(self) -> Tensor:
        """Labels (attributes, N)."""
        return self.labels.reshape(len(self.labels), -1).T

    @property
    def varied(self) -> Tensor:
        """Which attributes have more than one value."""
        return (self.columns != self.columns[:, :1]).any(1)

    def only(self, kept: Tensor) -> "LabelledLatents":
        return LabelledLatents(self.codes, self.columns[kept].T)


def majority(fitted: LabelledLatents, new: LabelledLatents) -> float:
    """The accuracy of the commonest label."""
    return _accuracy(fitted.columns.mode(1, keepdim=True).values, new)


def linear_probe(fitted: LabelledLatents, new: LabelledLatents) -> float:
    """The accuracy of a multinomial logistic regression on standardised codes.

    Its penalty is that of scikit-learn's default, |w|^2 / 2 beside the sum of the log losses.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(_array(fitted.codes))
    x, new_x = scaler.transform(_array(fitted.codes)), scaler.transform(_array(new.codes))
    found = []
    for y in progress_bar(list(fitted.columns), "linear probe"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # after 1000 steps it is near
            found.append(LogisticRegression(max_iter=1000).fit(x, y.numpy()).predict(new_x))
    return _accuracy(torch.from_numpy(np.stack(found)), new)


def knn(fitted: LabelledLatents, new: LabelledLatents, neighbours: int = 5) -> float:
    """The accuracy of the commonest label among the nearest codes."""
    from sklearn.neighbors import KNeighborsClassifier

    reader = KNeighborsClassifier(min(neighbours, len(fitted.codes)))
    reader.fit(_array(fitted.codes), fitted.columns.T.squeeze(1).numpy())
    found = np.asarray(reader.predict(_array(new.codes)))
    return _accuracy(LabelledLatents(new.codes, torch.from_numpy(found)).columns, new)


def clustering(fitted: LabelledLatents, new: LabelledLatents, seed: int = 0) -> float:
    """The accuracy of clusters that labels have no part in, each then given one label.

    k-means with as many clusters as there are labels, the best of STARTS. Clusters and labels of
    the new codes are matched one to one, so that most agree.

    Reference: Unsupervised Deep Embedding for Clustering Analysis (Xie et al., 2016), equation 10
    """
    sizes = [len(y.unique()) for y in fitted.columns]
    clusters = {
        size: _clusters(fitted.codes, new.codes, size, seed)
        for size in progress_bar(sorted(set(sizes)), "clustering")
    }
    pairs = zip(sizes, new.columns, strict=True)
    found = [_matched(clusters[size], y.unique(return_inverse=True)[1]) for size, y in pairs]
    return sum(found) / len(found)


def _clusters(codes: Tensor, new: Tensor, size: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct codes than clusters
        found = KMeans(size, n_init=STARTS, random_state=seed).fit(_array(codes))  # type: ignore
    return torch.from_numpy(found.predict(_array(new))).long()


def _matched(clusters: Tensor, y: Tensor) -> float:
    """The largest share of clusters (N,) that agree with y (N,) when each stands for one label."""
    from scipy.optimize import linear_sum_assignment

    size = int(y.max()) + 1
    counts = (clusters * size + y).bincount(minlength=(int(clusters.max()) + 1) * size)
    counts = counts.view(-1, size)
    rows, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    return counts[rows, columns].sum().item() / len(y)


def _array(codes: Tensor) -> np.ndarray:
    return codes.double().numpy()


def _accuracy(found: Tensor, new: LabelledLatents) -> float:
    return (new.columns == found).double().mean().item()
