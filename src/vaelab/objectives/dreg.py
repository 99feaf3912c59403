"""The doubly reparameterised gradient: `objective=dreg`.

Reference: Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al.,
2019), equation 8, arXiv:1810.04152
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.stl import STL


class DReG(STL):
    """L_K, whose gradient by the encoder is sum_k v_k^2 (d log w_k / dz_k) dz_k, v = w / sum w.

    It has the mean of IWAE's and less noise. Decoder and prior keep IWAE's own, and so does an
    encoder through the pseudo-inputs of prior=vamp. With weight b of the KL, what is left out of
    d L_K is b v_k d log q, whose mean by parts is that of b v_k (1 - v_k) (d log w_k / dz_k) dz_k:
    v_k - b v_k (1 - v_k) remains.
    """

    def __init__(self, kl: KLWeighting, samples: int = 5):
        super().__init__(kl, samples)

    def factors(self, normalised: Tensor, weight: float) -> Tensor:
        return 1 - weight * (1 - normalised)
