"""Distributions of x with missing values, which are NaN."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from vaelab.runtime.errors import UserError


class Masked(Distribution):
    """p(x|z) whose `log_prob` is that of the observed entries of x; NaN marks a missing entry.

    The entries of x are independent given z, so that the marginal distribution of the observed ones
    is the product of theirs:

        log p(x_obs|z) = sum over observed i of log p(x_i|z)

    Mean, variance and samples are those of all entries. If no entry of x is observed, `log_prob` is
    0.

    Arguments:
        full: The distribution of all entries: one with a method `log_prob_of_observed`, as those of
            vaelab have, or an Independent of torch.distributions.

    Reference: MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets (Mattei and
        Frellsen, 2019), section 2, arXiv:1812.02633
    """

    def __init__(self, full: Distribution):
        self.full = full
        super().__init__(full.batch_shape, full.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.full.support

    @property
    def mean(self) -> Tensor:
        return self.full.mean

    @property
    def variance(self) -> Tensor:
        return self.full.variance

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.full.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute the log probability of the observed entries of value (*, *event).

        Raises:
            UserError: If the distribution has no log probability of single entries.
        """
        if compute := getattr(self.full, "log_prob_of_observed", None):
            return compute(value)
        if not isinstance(self.full, Independent):
            raise UserError(
                f"missing values need a likelihood whose entries are independent, but p(x|z) is a "
                f"{type(self.full).__name__}: choose another loss=, such as gaussian or bce"
            )
        observed = ~value.isnan()
        entries = self.full.base_dist.log_prob(torch.where(observed, value, 0))
        dims = self.full.reinterpreted_batch_ndims
        return torch.where(observed, entries, 0).flatten(entries.ndim - dims).sum(-1)


def fill_from_other_rows(x: Tensor) -> Tensor:
    """Replace NaN by observed values of the same entry in other rows, so that marginals are kept.

    The n-th row in which an entry is missing receives the value of the n-th row in which it is
    observed, beginning again with the first. An entry that is never observed becomes 0. Rows
    without NaN do not change. It serves statistics of single entries: mean, scale, frequencies.

    Arguments:
        x: (N, *shape).
    """
    flat = x.flatten(1)
    is_missing = flat.isnan()
    observed = (~is_missing).sum(0)
    donors = is_missing.long().sort(dim=0, stable=True).indices  # observed rows first
    number = (is_missing.cumsum(0) - 1).clamp(min=0) % observed.clamp(min=1)
    values = flat.gather(0, donors.gather(0, number)).nan_to_num(0)
    return torch.where(is_missing, values, flat).reshape(x.shape)
