"""Constant weight: `kl=constant`; kl.beta=1 is the ELBO, another the beta-VAE.

Reference: beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework
(Higgins et al., 2017), equation 4
"""

from vaelab.kl.base import KLWeighting, check_beta


class ConstantWeight(KLWeighting):
    """weight(step) = beta."""

    def __init__(self, beta: float = 1.0):
        super().__init__()
        check_beta(beta)
        self.beta = beta

    def weight(self, step: int) -> float:
        return self.beta
