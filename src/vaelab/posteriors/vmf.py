"""The von Mises-Fisher distribution on the unit sphere: `posterior=vmf`.

Reference: Hyperspherical Variational Auto-Encoders (Davidson et al., 2018), arXiv:1804.00891
"""

from torch import Tensor
from torch.nn.functional import normalize, softplus

from vaelab.distributions.sphere import sphere_constraint
from vaelab.distributions.von_mises_fisher import VonMisesFisher
from vaelab.posteriors.base import Posterior
from vaelab.runtime.errors import UserError

MAX_CONCENTRATION = 1e5  # the standard deviation of z in any direction is then about 0.003


class VMF(Posterior):
    """The posterior q(z|x) = vMF(z; m(x), k(x)) on the unit sphere in R^latent_dim.

    k = 1 + softplus(out), smoothly bounded by 1 + MAX_CONCENTRATION. The sphere has latent_dim - 1
    dimensions: latent_dim=11 corresponds to d = 10 in the paper.

    Raises:
        UserError: If latent_dim is below 2.
    """

    support = sphere_constraint

    def __init__(self, latent_dim: int):
        super().__init__()
        if latent_dim < 2:
            raise UserError(f"latent_dim={latent_dim}: posterior=vmf needs at least 2")
        self.inputs = latent_dim + 1

    def forward(self, out: Tensor) -> VonMisesFisher:
        direction, raw = out[..., :-1], out[..., -1]
        concentration = 1 + MAX_CONCENTRATION * (softplus(raw) / MAX_CONCENTRATION).tanh()
        return VonMisesFisher(normalize(direction, dim=-1), concentration)
