"""Choose the test images of the map and the order in which the page offers them."""

import torch
from torch import Tensor

from vaelab.data.base import choose_subset
from vaelab.runtime.seeding import Stream, seeded_generator


def choose_test_images(labels: Tensor, size: int) -> Tensor:
    """Return sorted indices of a random subset of images, which has at least one of each class.

    Arguments:
        labels: Classes (N,), or any other labels, which are ignored.
        size: Size of the random subset, to which the first image of each missing class is added.
    """
    indices = choose_subset(len(labels), size)
    if not are_classes(labels):
        return indices
    missing = set(labels.tolist()) - set(labels[indices].tolist())
    first = [int((labels == label).nonzero()[0]) for label in missing]
    return torch.cat([indices, indices.new_tensor(first)]).sort().values


def order_test_images(labels: Tensor, page_size: int) -> Tensor:
    """Return a random order (N,) of images, with as many classes on every page as possible.

    Each page is sorted by class.

    Arguments:
        labels: Classes (N,), or any other labels, which are ignored.
    """
    order = torch.randperm(len(labels), generator=seeded_generator(Stream.SUBSET))
    if not are_classes(labels):
        return order
    shuffled = labels[order]
    _, counts = shuffled.unique(return_counts=True)
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    repeats = torch.empty_like(order)  # how many earlier images have the same class
    repeats[shuffled.argsort(stable=True)] = torch.arange(len(order)) - starts
    pages = order[repeats.argsort(stable=True)].split(page_size)
    return torch.cat([page[labels[page].argsort(stable=True)] for page in pages])


def are_classes(labels: Tensor) -> bool:
    """True if labels are classes (N,), not attributes (N, K) or real numbers."""
    return labels.ndim == 1 and not labels.is_floating_point()
