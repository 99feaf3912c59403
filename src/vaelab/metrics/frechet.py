"""How far apart two sets of features are, each taken for a normal: FID where the net is Inception.

Reference: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel
et al., 2017), equation 6, arXiv:1706.08500
"""

from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) of features (N, D) and (M, D), N, M >= 2.

    It is biased upwards, the more the fewer images there are: compare it at equal N only.
    """
    metric = FrechetInceptionDistance(_Given(x.shape[1]), sync_on_compute=False)
    metric.update(x.double(), real=True)
    metric.update(y.double(), real=False)
    return metric.compute().item()


class _Given(nn.Module):
    """Features instead of pictures are what the metric is given."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
