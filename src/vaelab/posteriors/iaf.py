"""The inverse autoregressive flow: `posterior=iaf`.

Reference: Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
equations 9 to 11, arXiv:1606.04934
"""

from collections.abc import Sequence

from vaelab.posteriors.autoregressive import AutoregressivePosterior


class IAF(AutoregressivePosterior):
    """The posterior of a flow of affine steps.

    z_t = m_t(z_{t-1}, h(x)) + s_t(z_{t-1}, h(x)) z_{t-1}.

    Arguments: See `AutoregressivePosterior`.
    """

    def __init__(
        self,
        latent_dim: int,
        transforms: int = 2,
        hidden: Sequence[int] = (128,),
        context: int = 32,
        bound: float = 7.0,
    ):
        super().__init__(latent_dim, transforms, hidden, context, bound)
