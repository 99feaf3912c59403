"""The mutual information gap.

Reference: Isolating Sources of Disentanglement in Variational Autoencoders (Chen et al., 2018),
section 4.1, equation 6, arXiv:1802.04942
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def mig(codes: Tensor, factors: Tensor, bins: int = 20) -> float:
    """Mean over factors v of (I(z_a; v) - I(z_b; v)) / H(v), z_a and z_b the dimensions that know
    most of v.

    1 if each factor has a dimension of its own that tells all its values apart, 0 if its best two
    know as much. The information is that of a table of counts, which is too large by about
    (bins - 1) (values - 1) / 2N nats in every dimension: much of it cancels in the gap.

    Arguments:
        codes: (N, D). Each dimension is cut into bins of equally many codes, so that nothing but
            their order counts; other programs cut it into bins of equal width.
        factors: (N, K), whole numbers, each of at least two values.
        bins: At least as many as a factor has values, or else these cannot all be told apart.
    """
    cut = torch.stack([_bins(z, bins) for z in codes.T], 1)
    return torch.stack([_gap(cut, v) for v in factors.T]).mean().item()


def _gap(cut: Tensor, v: Tensor) -> Tensor:
    v = v.unique(return_inverse=True)[1]
    information = torch.stack([mutual_information(z, v) for z in cut.T])
    first, second = pad(information, (0, 1)).topk(2).values
    return (first - second) / mutual_information(v, v)


def _bins(z: Tensor, bins: int) -> Tensor:
    """The number of the bin of each z (N,); equal ones are in the same."""
    z = z.contiguous()
    edges = z.sort().values[torch.arange(1, bins) * len(z) // bins]
    return torch.bucketize(z, edges, right=True)


def mutual_information(a: Tensor, b: Tensor) -> Tensor:
    """Of the counts of whole numbers a and b (N,), in nats; of b with itself it is the entropy."""
    size = int(b.max()) + 1
    counts = (a * size + b).bincount(minlength=(int(a.max()) + 1) * size).view(-1, size)
    joint = counts.double() / len(a)
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint.flatten())


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum()
