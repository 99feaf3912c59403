"""The Wasserstein autoencoder with MMD: `objective=wae_mmd`.

Reference: Wasserstein Auto-Encoders (Tolstikhin et al., 2018), algorithm 2, arXiv:1711.01558
"""

from collections.abc import Sequence

from torch import Tensor

from vaelab.objectives.matching import Matching
from vaelab.objectives.mmd import Kernel, Kernels


class WAEMMD(Matching):
    """reconstruction + weight * MMD^2(q(z), p(z)), the latter unbiased over the batch.

    The paper's cost is the squared error: loss=mse at scale 1 is half of it.

    Arguments:
        kernel, scales: As objectives/mmd.py says; imq at one scale is the paper's.
    """

    def __init__(
        self, weight: float = 1000.0, kernel: Kernel = "imq", scales: Sequence[float] = (1.0,)
    ):
        super().__init__(weight)
        self.mmd = Kernels(kernel, scales)

    def discrepancy(self, z: Tensor, p: Tensor) -> Tensor:
        return self.mmd(z, p)
