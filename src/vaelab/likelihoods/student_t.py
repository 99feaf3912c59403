"""Student's t-distribution, which is robust to outliers: `loss=student_t`.

Reference: Student-t Variational Autoencoder for Robust Density Estimation (Takahashi et al.,
2018), section 4
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaelab.distributions import student_t
from vaelab.likelihoods.scaled import LocationScaleLikelihood
from vaelab.runtime.errors import UserError
from vaelab.runtime.precision import to_double


class StudentT(LocationScaleLikelihood):
    """Independent pixels with Student's t-distribution about the decoder output.

    p(x|z) = prod_i t_df((x_i - out_i) / scale) / scale. It approaches the normal for large df.

    Arguments:
        shape: The shape of one x.
        scale: See `LocationScaleLikelihood`. "optimal" is not available because it has no closed
            form.
        df: The degrees of freedom, a number above 2, so that the variance is finite, or "learned"
            for one parameter shared by all pixels (the paper learns one for each pixel).

    Raises:
        UserError: If df is neither "learned" nor a finite number above 2.
    """

    scale_options = ("learned", "pixel")

    def __init__(
        self, shape: Sequence[int], scale: float | str = "learned", df: float | str = "learned"
    ):
        super().__init__(shape, scale)
        if df == "learned":
            self.raw_df = nn.Parameter(torch.tensor(math.log(math.expm1(3.0))))  # df = 5
        elif isinstance(df, str) or not 2 < df < math.inf:
            raise UserError(f"loss.df={df}: set a number above 2, or learned")
        self.fixed_df = df

    @property
    def df(self) -> Tensor:
        """The degrees of freedom () in float64."""
        if self.fixed_df == "learned":
            return 2 + softplus(to_double(self.raw_df))
        return torch.tensor(float(self.fixed_df)).double()

    def make_distribution(self, location: Tensor, scale: Tensor) -> student_t.IndependentStudentT:
        return student_t.IndependentStudentT(self.df, location, scale, len(self.shape))

    def fit_scale(self, mean_error: Tensor) -> Tensor:
        """Compute the scale for which the variance of a pixel is the mean squared error."""
        return (mean_error * (1 - 2 / self.df.to(mean_error))).sqrt()
