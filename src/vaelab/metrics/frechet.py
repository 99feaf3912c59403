"""The Frechet distance between two sets of features; with features of Inception it is the FID.

Reference: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel
et al., 2017), equation 6, arXiv:1706.08500
"""

from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from vaelab.runtime.precision import to_double


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Compute the squared Frechet distance between normals that are fitted to two sets of features.

    |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)), with means m and covariances C. It is biased
    upwards, and more so for fewer images: compare values at equal N only.

    Arguments:
        x, y: (N, D) and (M, D), with N and M of at least 2.
    """
    metric = FrechetInceptionDistance(IdentityFeatures(x.shape[1]), sync_on_compute=False)
    metric.update(to_double(x), real=True)
    metric.update(to_double(y), real=False)
    return metric.compute().item()


class IdentityFeatures(nn.Module):
    """A feature extractor that returns its input, for a metric that is updated with features."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
