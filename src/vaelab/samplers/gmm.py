"""A mixture of normals that is fitted to the latents: `sampler=gmm`.

Reference: From Variational to Deterministic Autoencoders (Ghosh et al., 2020), section 3 (there
with 10 components), arXiv:1903.12436
"""

import logging
import warnings

import torch
from torch import Tensor

from vaelab.samplers.base import FittedSampler, check_at_least_one

log = logging.getLogger(__name__)


class GMMSampler(FittedSampler):
    """A mixture z ~ sum_k w_k N(m_k, T^2 S_k) with temperature T, fitted at T = 1 by EM.

    A covariance of D dimensions needs D + 1 latents not to be singular, and a normal with a
    singular covariance copies its latents. Twice as many per component are required, because EM
    does not divide them equally.

    Arguments:
        components: The number of normals, each with a full covariance S_k.
        iterations: The maximum number of EM iterations.
    """

    weights: Tensor
    means: Tensor
    roots: Tensor

    def __init__(self, temperature: float = 1.0, components: int = 10, iterations: int = 300):
        super().__init__(temperature)
        check_at_least_one(components=components, iterations=iterations)
        self.components, self.iterations = components, iterations

    def min_latents(self, latent_dim: int) -> int:
        return 2 * (latent_dim + 1) * self.components

    def remedy(self, latents: Tensor) -> str:
        components = len(latents) // (2 * (latents.shape[-1] + 1))
        return f"set sampler.components={components}" if components else super().remedy(latents)

    def fit_standardized(self, latents: Tensor) -> None:
        from sklearn.exceptions import ConvergenceWarning  # this import takes a second
        from sklearn.mixture import GaussianMixture

        seed = int(torch.randint(2**31 - 1, ()))
        mixture = GaussianMixture(self.components, max_iter=self.iterations, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(latents.double().cpu().numpy())
        if not mixture.converged_:
            log.warning(
                f"sampler=gmm did not converge in {self.iterations} iterations: raise "
                "sampler.iterations"
            )
        self.weights, self.means = torch.tensor(mixture.weights_), torch.tensor(mixture.means_)
        self.roots = torch.linalg.cholesky(torch.tensor(mixture.covariances_))

    def sample_standardized(self, n: int) -> Tensor:
        k = self.weights.multinomial(n, replacement=True)
        noise = torch.randn_like(self.means[k])
        return self.means[k] + self.temperature * torch.einsum("nij,nj->ni", self.roots[k], noise)
