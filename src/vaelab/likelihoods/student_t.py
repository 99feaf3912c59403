"""Student's t, which forgives outliers: `loss=student_t`.

Reference: Student-t Variational Autoencoder for Robust Density Estimation (Takahashi et al.,
2018), section 4
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaelab.distributions import student_t
from vaelab.likelihoods.scaled import Scaled


class StudentT(Scaled):
    """p(x|z) = prod_i t_df((x_i - out_i) / scale) / scale; the normal is its limit of large df.

    Arguments:
        scale: As `Scaled` has it; "optimal" has no closed form here.
        df: The degrees of freedom, above 2 for a variance, or "learned", one for all pixels (the
            paper has one for each).
    """

    kinds = ("learned", "pixel")

    def __init__(
        self, shape: Sequence[int], scale: float | str = "learned", df: float | str = "learned"
    ):
        super().__init__(shape, scale)
        if df == "learned":
            self.raw_df = nn.Parameter(torch.tensor(math.log(math.expm1(3.0))))  # df = 5
        elif isinstance(df, str) or not 2 < df < math.inf:
            raise ValueError(f"loss.df={df}: give a number above 2, or learned")
        self.fixed_df = df

    @property
    def df(self) -> Tensor:
        if self.fixed_df == "learned":
            return 2 + softplus(self.raw_df.double())
        return torch.tensor(float(self.fixed_df)).double()

    def around(self, location: Tensor, scale: Tensor) -> student_t.IndependentStudentT:
        return student_t.IndependentStudentT(self.df, location, scale, len(self.shape))

    def fit(self, deviation: Tensor) -> Tensor:
        """The scale at which the variance is that of the errors."""
        return (deviation * (1 - 2 / self.df.to(deviation))).sqrt()
