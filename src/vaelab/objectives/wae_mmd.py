"""The Wasserstein autoencoder with an MMD penalty: `objective=wae_mmd`.

Reference: Wasserstein Auto-Encoders (Tolstikhin et al., 2018), algorithm 2, arXiv:1711.01558
"""

from collections.abc import Sequence

from torch import Tensor

from vaelab.objectives.matching import AggregateMatching
from vaelab.objectives.mmd import KernelName, MultiScaleMMD


class WAEMMD(AggregateMatching):
    """Reconstruction, plus the squared MMD of the aggregate posterior q(z) to the prior p(z).

        loss = -log p(x|z) + weight * MMD^2(q(z), p(z)),    z ~ q(z|x)

    MMD^2 is estimated without bias from the batch. The paper's reconstruction cost is the squared
    error; loss=mse with loss.scale=1 gives half of it.

    Arguments:
        weight: Nats per unit of MMD^2.
        kernel: imq (inverse multiquadratic, as in the paper) or rbf, see MultiScaleMMD.
        scales: The kernel scales, in units of the prior's standard deviation.

    Raises:
        UserError: If `weight` or `scales` is out of range.
    """

    def __init__(
        self, weight: float = 1000.0, kernel: KernelName = "imq", scales: Sequence[float] = (1.0,)
    ):
        super().__init__(weight)
        self.mmd = MultiScaleMMD(kernel, scales)

    def discrepancy(self, z: Tensor, prior_z: Tensor) -> Tensor:
        return self.mmd(z, prior_z)
