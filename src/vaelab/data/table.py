"""Two small tables that scikit-learn contains: `data=table data.name=breast_cancer`.

References:
    Breast Cancer Wisconsin (Diagnostic) (Wolberg et al., 1995)
    Wine (Aeberhard and Forina, 1991)
"""

from typing import Any

import torch

from vaelab.data.base import (
    Binarize,
    DataModule,
    Split,
    check_split_fractions,
    measure_standardization,
    random_split,
)
from vaelab.distributions.standardization import Standardization
from vaelab.runtime.errors import UserError

SIZES = {"breast_cancer": (30, 2), "wine": (13, 3)}  # columns and classes


class Table(DataModule):
    """Rows of measurements, float32, and optionally their class as further columns.

    breast_cancer has 569 tumors with 30 measurements, which are malignant (0) or benign (1). wine
    has 178 wines with 13 measurements, of three growers. The model sees measurements that are
    standardized by the mean and the standard deviation of the training rows; samples and
    reconstructions are in the units of the data. Labels are the classes.

    Arguments:
        name: breast_cancer | wine.
        target: True to append the class to x, as a binary column or as one-hot columns. The table
            then has columns of different kinds, for loss=mixed.
        validation, test: The fractions of the rows that are set aside; always the same rows.

    Raises:
        UserError: If the name or a fraction is out of range.
    """

    licence = "CC BY 4.0 (UCI Machine Learning Repository)"

    def __init__(
        self,
        name: str = "breast_cancer",
        target: bool = True,
        validation: float = 0.15,
        test: float = 0.15,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        if name not in SIZES:
            raise UserError(f"data.name={name}: choose from {', '.join(SIZES)}")
        check_split_fractions(validation, test)
        if binarize != "none":
            raise UserError(
                f"data.binarize={binarize} treats pixels as probabilities, but the columns of "
                "data=table are measurements: set data.binarize=none"
            )
        columns, classes = SIZES[name]
        added = classes if classes > 2 else 1
        super().__init__((columns + added * target,), binarize, batch_size, seed, dequantize)
        self.name, self.target, self.fractions = name, target, (validation, test)
        if target:
            kind = "binary" if classes == 2 else f"categorical:{classes}"
            self.kind = [*["real"] * columns, kind]
        self.columns: tuple[str, ...] = ()
        self.classes: tuple[str, ...] = ()

    def load(self) -> dict[str, Split]:
        from sklearn import datasets  # slow to import

        bunch: Any = getattr(datasets, f"load_{self.name}")()
        x, y = torch.from_numpy(bunch.data), torch.from_numpy(bunch.target).long()
        order = random_split(len(x), *self.fractions)
        self.columns = tuple(map(str, bunch.feature_names))
        self.classes = tuple(map(str, bunch.target_names))
        self.conversions.append("standardized by the training rows")
        if self.target:
            self.columns += self.classes[1:] if len(self.classes) == 2 else self.classes
            one_hot = torch.nn.functional.one_hot(y)
            x = torch.cat([x, one_hot[:, 1:] if len(self.classes) == 2 else one_hot], 1)
        if self.standardization is None:
            measured = range(len(bunch.feature_names))
            self.standardization = _standardize_columns(x[order["train"]], measured)
        return {part: Split(x[i].float(), y[i]) for part, i in order.items()}


def _standardize_columns(x: torch.Tensor, columns: range) -> Standardization:
    """Measure the standardization of some columns of x (N, D); the others stay as they are."""
    measured = measure_standardization(x)
    is_chosen = torch.tensor([number in columns for number in range(x.shape[1])])
    return Standardization(
        torch.where(is_chosen, measured.mean, 0.0), torch.where(is_chosen, measured.deviation, 1.0)
    )
