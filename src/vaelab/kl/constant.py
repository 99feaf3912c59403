"""A constant weight of the KL: `kl=constant`. kl.beta=1 is the ELBO, other values the beta-VAE.

Reference: beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework
(Higgins et al., 2017), equation 4
"""

from vaelab.kl.base import KLWeighting, check_beta


class ConstantWeight(KLWeighting):
    """weight(step) = beta.

    Arguments:
        beta: The weight.

    Raises:
        UserError: If `beta` is negative or not finite.
    """

    def __init__(self, beta: float = 1.0):
        super().__init__()
        check_beta(beta)
        self.beta = beta

    def weight(self, step: int) -> float:
        return self.beta
