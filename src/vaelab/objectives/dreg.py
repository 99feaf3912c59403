"""The doubly reparameterised gradient of the importance-weighted bound: `objective=dreg`.

Reference: Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al.,
2019), equation 8, arXiv:1810.04152
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.stl import STL


class DReG(STL):
    """The bound L_K of IWAE, with the doubly reparameterised gradient for the encoder phi.

        d L_K / d phi = sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi),    v_k = w_k / sum_j w_j

    This gradient has the same mean as that of IWAE, and less variance. The gradients for the
    decoder and the prior are those of IWAE, also where prior=vamp passes pseudo-inputs through the
    encoder.

    With a KL weight b, the path derivative (objective=stl) omits the score term -b v_k d log q. It
    has the mean of -b v_k (1 - v_k) (d log w_k / d z_k) (d z_k / d phi), by integration by parts.
    With this term the factor is v_k - b v_k (1 - v_k), which is v_k^2 for b = 1.

    Arguments:
        kl: The weighting of the KL.
        samples: K.
    """

    def __init__(self, kl: KLWeighting, samples: int = 5):
        super().__init__(kl, samples)

    def gradient_factors(self, normalised: Tensor, weight: float) -> Tensor:
        return 1 - weight * (1 - normalised)
