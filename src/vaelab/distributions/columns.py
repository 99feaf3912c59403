"""Columns of different kinds in one table: real, binary, categorical and count."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaelab.distributions.base import FactorizedDistribution
from vaelab.runtime.errors import UserError

COLUMN_KINDS = ("real", "binary", "categorical", "count")


def parse_columns(kinds: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return the kind and the columns of x of each item of a list of kinds.

    [real, binary, categorical:3] describes five columns: `categorical:3` stands for three one-hot
    columns of one category.

    Raises:
        UserError: If a kind is misspelt, or a category has no number of at least 2 columns.
    """
    parsed, start = [], 0
    for item in kinds:
        kind, colon, number = str(item).partition(":")
        if kind not in COLUMN_KINDS or (colon == ":") != (kind == "categorical"):
            raise UserError(
                f"kind {item} of a column: choose from real, binary, categorical:N (N one-hot "
                "columns), count"
            )
        if colon and (not number.isdecimal() or int(number) < 2):
            raise UserError(
                f"kind {item} of a column: write the number of its one-hot columns, at least 2, as "
                "in categorical:3"
            )
        size = int(number) if colon else 1
        parsed.append((kind, list(range(start, start + size))))
        start += size
    return parsed


class OneHotColumns(FactorizedDistribution):
    """A categorical variable as a one-hot vector (*batch, K), P(k) = softmax(logits)_k."""

    support: Any = constraints.one_hot

    def __init__(self, logits: Tensor):
        self.logits = logits
        super().__init__(logits, 1)

    @property
    def mean(self) -> Tensor:
        return self.logits.softmax(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        elements = torch.distributions.OneHotCategorical(logits=self.logits, validate_args=False)
        return elements.sample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.sum_over_event(self.entry_log_prob(value))

    def entry_log_prob(self, value: Tensor) -> Tensor:
        """Compute x_k log P(k) of each of the K columns; only the 1 has a term."""
        return value * self.logits.log_softmax(-1)


class IndependentColumns(Distribution):
    """A row of a table whose groups of columns have distributions of their own.

    Arguments:
        parts: The columns of x and the distribution of each group, with event shape
            (len(columns),) and an `entry_log_prob`. Every column is in one group.
    """

    support: Any = constraints.real_vector

    def __init__(self, parts: Sequence[tuple[Tensor, Any]]):
        self.parts = parts
        order = torch.cat([columns for columns, _ in parts])
        self.order = order.argsort()  # from the columns of the parts to those of x
        super().__init__(parts[0][1].batch_shape, torch.Size([len(order)]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self._join([p.mean for _, p in self.parts])

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self._join([p.sample(sample_shape) for _, p in self.parts])

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.stack([p.log_prob(value[..., columns]) for columns, p in self.parts]).sum(0)

    def entry_log_prob(self, value: Tensor) -> Tensor:
        """Compute the term of each column (*, D) of `log_prob`."""
        return self._join([p.entry_log_prob(value[..., columns]) for columns, p in self.parts])

    def log_prob_of_observed(self, value: Tensor) -> Tensor:
        """Compute the log probability of the columns of value (*, D) that are not NaN."""
        observed = ~value.isnan()
        entries = self.entry_log_prob(torch.where(observed, value, 0))
        return torch.where(observed, entries, 0).sum(-1)

    def _join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, -1)[..., self.order]
