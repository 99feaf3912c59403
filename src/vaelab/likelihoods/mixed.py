"""Columns of different kinds in one table, each with its own likelihood: `loss=mixed`.

Reference: Handling Incomplete Heterogeneous Data using VAEs (Nazabal et al., 2020), section 3,
arXiv:1807.03653
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.functional import one_hot

from vaelab.distributions.columns import IndependentColumns, OneHotColumns, parse_columns
from vaelab.distributions.pixels import Pixels
from vaelab.likelihoods.base import Likelihood, Measure
from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.likelihoods.gaussian import Gaussian
from vaelab.likelihoods.negative_binomial import NegativeBinomial
from vaelab.runtime.errors import UserError


class Mixed(Likelihood):
    """Independent columns: log p(x|z) is the sum of the log probabilities of all columns.

    | kind | p(x|z) |
    |---|---|
    | real | normal, with one scale for each column |
    | binary | Bernoulli |
    | categorical:N | softmax over its N one-hot columns |
    | count | negative binomial with exposure 1 |

    log p(x|z) is a log density if there is a real column, and otherwise a log probability. The
    encoder takes log(1 + x) of counts.

    Arguments:
        shape: The shape of one x, (D,).
        columns: The kind of each column, see `vaelab.distributions.columns.parse_columns`. In a run
            they come from the data set.
        scale: column | learned | pixel: the standard deviation of real columns, see `Gaussian`.
        dispersion: column | pixel, that of counts, see `NegativeBinomial`.

    Raises:
        UserError: If the columns are missing, or do not fit the shape.
    """

    support = constraints.real
    pixels = "mixed"

    def __init__(
        self,
        shape: Sequence[int],
        columns: Sequence[str] | None = None,
        scale: str = "column",
        dispersion: str = "column",
    ):
        super().__init__(shape)
        if not columns:
            raise UserError(
                "loss=mixed needs the kind of each column: set data.kind=[real,binary,...] for "
                "data=arrays, or in Python loss='mixed loss.columns=[real,binary,...]'"
            )
        parsed = parse_columns(columns)
        count = sum(len(numbers) for _, numbers in parsed)
        if self.shape != (count,):
            raise UserError(
                f"loss=mixed: the kinds describe {count} columns, but x has shape {list(shape)}: "
                "name one kind for each column, and categorical:N for N one-hot columns"
            )
        if scale not in ("column", "learned", "pixel"):
            raise UserError(f"loss.scale={scale}: choose from column, learned, pixel")
        self.columns = tuple(map(str, columns))
        groups: list[tuple[str, list[int]]] = []
        for kind in ("real", "binary", "count"):
            if numbers := [each[0] for name, each in parsed if name == kind]:
                groups.append((kind, numbers))
        groups += [group for group in parsed if group[0] == "categorical"]
        self.kinds = [kind for kind, _ in groups]
        self.parts = nn.ModuleList()
        for number, (kind, numbers) in enumerate(groups):
            size = (len(numbers),)
            self.register_buffer(f"columns_{number}", torch.tensor(numbers), persistent=False)
            if kind == "real":
                self.parts.append(Gaussian(size, scale))
            elif kind == "count":
                self.parts.append(NegativeBinomial(size, "none", dispersion))
            else:
                self.parts.append(Bernoulli(size) if kind == "binary" else _Category(size))
        self.outputs = sum(part.outputs for part in self._list_parts())

    def _list_parts(self) -> list[Likelihood]:
        return list(self.parts)  # type: ignore[arg-type]

    @property
    def positions(self) -> list[Tensor]:
        """The columns of x of each part."""
        return [self.get_buffer(f"columns_{number}") for number in range(len(self.parts))]

    def forward(self, out: Tensor) -> IndependentColumns:
        parts = self._list_parts()
        outputs = out.split([part.outputs for part in parts], dim=-1)
        distributions = [part(each) for part, each in zip(parts, outputs, strict=True)]
        return IndependentColumns(list(zip(self.positions, distributions, strict=True)))

    def transform_encoder_input(self, x: Tensor) -> Tensor:
        """Return x with log(1 + x) of the counts."""
        if "count" not in self.kinds:
            return x
        columns = self.positions[self.kinds.index("count")]
        return x.index_copy(-1, columns, x[..., columns].clamp(min=0).log1p())

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        parts = zip(self._list_parts(), self.positions, strict=True)
        return torch.cat([part.initialize(x[:, columns], shared) for part, columns in parts])

    def set_floor(self, x: Tensor) -> None:
        for part, columns in zip(self._list_parts(), self.positions, strict=True):
            part.set_floor(x[:, columns])

    def check_pixels(
        self, low: float, high: float, pixels: Pixels, columns: Sequence[str] = ()
    ) -> None:
        if pixels != "mixed":
            raise UserError(
                f"loss=mixed needs a table with columns of different kinds, but the pixels of the "
                f"data are {pixels}: set data.kind=[{','.join(self.columns)}]"
            )
        if tuple(columns) != self.columns:
            raise UserError(
                f"loss.columns=[{','.join(self.columns)}], but the kinds of the data are "
                f"[{','.join(columns)}]: leave out loss.columns"
            )

    def measure(self, pixels: Pixels) -> Measure:
        return "density" if "real" in self.kinds else "probability"


class _Category(Likelihood):
    """The one-hot columns of one category; the decoder outputs are their logits."""

    support = constraints.unit_interval
    pixels = "binary"

    def __init__(self, shape: Sequence[int]):
        super().__init__(shape)
        self.outputs = shape[0]

    def forward(self, out: Tensor) -> OneHotColumns:
        return OneHotColumns(out)

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        """Compute the log frequencies, with half a row added to each category."""
        counts = one_hot(x.argmax(-1), x.shape[-1]).sum(0).to(x)
        return (counts + 0.5).log() - (counts.sum() + 0.5 * len(counts)).log()
