"""Von Mises-Fisher, on the unit sphere: `posterior=vmf`.

Reference: Hyperspherical Variational Auto-Encoders (Davidson et al., 2018), arXiv:1804.00891
"""

from torch import Tensor
from torch.nn.functional import normalize, softplus

from vaelab.distributions.sphere import sphere
from vaelab.distributions.von_mises_fisher import VonMisesFisher
from vaelab.posteriors.base import Posterior

MOST = 1e5  # of the concentration: then the code varies by 0.3 % in a direction


class VMF(Posterior):
    """q(z|x) = vMF(z; m(x), k(x)) with k = 1 + softplus(out), bounded, on the sphere in R^D.

    The sphere has latent_dim - 1 dimensions of its own: latent_dim=11 is the paper's d = 10.
    """

    support = sphere

    def __init__(self, latent_dim: int):
        super().__init__()
        if latent_dim < 2:
            raise ValueError(f"latent_dim={latent_dim}: posterior=vmf needs at least 2")
        self.inputs = latent_dim + 1

    def forward(self, out: Tensor) -> VonMisesFisher:
        direction, raw = out[..., :-1], out[..., -1]
        concentration = 1 + MOST * (softplus(raw) / MOST).tanh()
        return VonMisesFisher(normalize(direction, dim=-1), concentration)
