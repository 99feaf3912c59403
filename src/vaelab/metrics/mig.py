"""The mutual information gap (MIG).

Reference: Isolating Sources of Disentanglement in Variational Autoencoders (Chen et al., 2018),
section 4.1, equation 6, arXiv:1802.04942
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def mig(latents: Tensor, factors: Tensor, bins: int = 20) -> float:
    """Compute the mean over factors v of (I(z_a; v) - I(z_b; v)) / H(v).

    z_a and z_b are the two dimensions with the most information about v. The score is 1 if each
    factor is determined by one dimension that no other dimension has information about, and 0 if
    the best two dimensions of each factor are equally informative. The mutual information is
    estimated from a table of counts, with a bias of about (bins - 1) (values - 1) / 2N nats in
    every dimension, most of which cancels in the gap.

    Arguments:
        latents: (N, D). Each dimension is divided into bins with equal numbers of latents, so the
            score depends on their order only. Other implementations use bins of equal width.
        factors: (N, K), integers, each with at least two values.
        bins: The number of bins, at least the number of values of each factor; with fewer bins a
            score of 1 is impossible.
    """
    indices = torch.stack([_bin_indices(z, bins) for z in latents.T], 1)
    return torch.stack([_information_gap(indices, v) for v in factors.T]).mean().item()


def _information_gap(indices: Tensor, v: Tensor) -> Tensor:
    """Compute the gap for one factor v (N,) from the bin indices (N, D) of the latents."""
    v = v.unique(return_inverse=True)[1]
    information = torch.stack([mutual_information(z, v) for z in indices.T])
    first, second = pad(information, (0, 1)).topk(2).values
    return (first - second) / mutual_information(v, v)


def _bin_indices(z: Tensor, bins: int) -> Tensor:
    """Return the bin index of each z (N,); equal values share a bin."""
    z = z.contiguous()
    edges = z.sort().values[torch.arange(1, bins) * len(z) // bins]
    return torch.bucketize(z, edges, right=True)


def mutual_information(a: Tensor, b: Tensor) -> Tensor:
    """Compute the mutual information of integers a and b (N,) in nats; of b and b it is H(b)."""
    size = int(b.max()) + 1
    counts = (a * size + b).bincount(minlength=(int(a.max()) + 1) * size).view(-1, size)
    joint = counts.double() / len(a)
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint.flatten())


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum()
