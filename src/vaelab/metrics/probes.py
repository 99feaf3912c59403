"""Probes: the accuracies of simple classifiers that predict labels from latents.

Each probe is fitted to latents (N, D) with integer labels (N,) or (N, attributes) and scored on new
ones. The accuracy lies between 0 and 1, and `majority` is that of a constant prediction. For
attributes it is the mean over attributes. Every label must have at least two values.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaelab.runtime.distributed import progress_bar

KMEANS_RESTARTS = 10


class LabelledLatents(NamedTuple):
    """Latents (N, D) with labels (N,) or (N, attributes)."""

    latents: Tensor
    labels: Tensor

    @property
    def columns(self) -> Tensor:
        """The labels as (attributes, N); classes are one attribute."""
        return self.labels.reshape(len(self.labels), -1).T

    @property
    def varying(self) -> Tensor:
        """True for each attribute with more than one value, (attributes,)."""
        return (self.columns != self.columns[:, :1]).any(1)

    def select(self, attributes: Tensor) -> "LabelledLatents":
        """Return the latents with some of the attributes, given as a boolean mask (attributes,)."""
        return LabelledLatents(self.latents, self.columns[attributes].T)


def majority(fitted: LabelledLatents, new: LabelledLatents) -> float:
    """Compute the accuracy of always predicting the most common label."""
    return _accuracy(fitted.columns.mode(1, keepdim=True).values, new)


def linear_probe(fitted: LabelledLatents, new: LabelledLatents) -> float:
    """Compute the accuracy of a multinomial logistic regression on standardised latents.

    The loss is the sum of the log losses plus |w|^2 / 2, scikit-learn's default penalty.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(_to_numpy(fitted.latents))
    x = scaler.transform(_to_numpy(fitted.latents))
    new_x = scaler.transform(_to_numpy(new.latents))
    predictions = []
    for y in progress_bar(list(fitted.columns), "linear probe"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # close after 1000 steps
            model = LogisticRegression(max_iter=1000).fit(x, y.numpy())
            predictions.append(model.predict(new_x))
    return _accuracy(torch.from_numpy(np.stack(predictions)), new)


def knn(fitted: LabelledLatents, new: LabelledLatents, neighbours: int = 5) -> float:
    """Compute the accuracy of predicting the most common label among the nearest latents."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(min(neighbours, len(fitted.latents)))
    classifier.fit(_to_numpy(fitted.latents), fitted.columns.T.squeeze(1).numpy())
    predictions = torch.from_numpy(np.asarray(classifier.predict(_to_numpy(new.latents))))
    return _accuracy(LabelledLatents(new.latents, predictions).columns, new)


def clustering(fitted: LabelledLatents, new: LabelledLatents, seed: int = 0) -> float:
    """Compute the accuracy of k-means clusters that are matched with the labels afterwards.

    The clusters are fitted without labels, as many as there are labels, with the best of
    KMEANS_RESTARTS initializations. Clusters and labels of the new latents are then matched one to
    one, such that as many as possible agree.

    Reference: Unsupervised Deep Embedding for Clustering Analysis (Xie et al., 2016), equation 10
    """
    sizes = [len(y.unique()) for y in fitted.columns]
    clusters = {
        size: _predict_clusters(fitted.latents, new.latents, size, seed)
        for size in progress_bar(sorted(set(sizes)), "clustering")
    }
    pairs = zip(sizes, new.columns, strict=True)
    accuracies = [
        _matched_accuracy(clusters[size], y.unique(return_inverse=True)[1]) for size, y in pairs
    ]
    return sum(accuracies) / len(accuracies)


def _predict_clusters(latents: Tensor, new: Tensor, size: int, seed: int) -> Tensor:
    """Fit k-means with `size` clusters to latents (N, D) and predict those of the new ones (M,)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct latents
        kmeans = KMeans(size, n_init=KMEANS_RESTARTS, random_state=seed)  # type: ignore
        kmeans.fit(_to_numpy(latents))
    return torch.from_numpy(kmeans.predict(_to_numpy(new))).long()


def _matched_accuracy(clusters: Tensor, y: Tensor) -> float:
    """Compute the best accuracy for y (N,) of a one-to-one map from clusters (N,) to labels."""
    from scipy.optimize import linear_sum_assignment

    size = int(y.max()) + 1
    counts = (clusters * size + y).bincount(minlength=(int(clusters.max()) + 1) * size)
    counts = counts.view(-1, size)
    rows, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    return counts[rows, columns].sum().item() / len(y)


def _to_numpy(latents: Tensor) -> np.ndarray:
    return latents.double().numpy()


def _accuracy(predictions: Tensor, new: LabelledLatents) -> float:
    return (new.columns == predictions).double().mean().item()
