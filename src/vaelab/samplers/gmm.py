"""A mixture of normals, fitted to the codes: `sampler=gmm`.

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
    """z ~ sum_k w_k N(m_k, T^2 S_k), by expectation maximisation; T is the temperature.

    Arguments:
        components: The number of normals, with full covariances S_k.
        iterations: The largest number of steps.
    """

    weights: Tensor
    means: Tensor
    roots: Tensor

    def __init__(self, temperature: float = 1.0, components: int = 10, iterations: int = 300):
        super().__init__(temperature)
        check_at_least_one(components=components, iterations=iterations)
        self.components, self.iterations = components, iterations

    def learn(self, codes: Tensor) -> None:
        from sklearn.exceptions import ConvergenceWarning  # a second to import
        from sklearn.mixture import GaussianMixture

        if self.components > len(codes):
            raise ValueError(f"sampler.components={self.components}: there are {len(codes)} codes")
        seed = int(torch.randint(2**31 - 1, ()))
        found = GaussianMixture(self.components, max_iter=self.iterations, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found.fit(codes.double().cpu().numpy())
        if not found.converged_:
            log.warning("sampler=gmm did not converge: raise sampler.iterations")
        self.weights, self.means = torch.tensor(found.weights_), torch.tensor(found.means_)
        self.roots = torch.linalg.cholesky(torch.tensor(found.covariances_))

    def draw(self, n: int) -> Tensor:
        k = self.weights.multinomial(n, replacement=True)
        noise = torch.randn_like(self.means[k])
        return self.means[k] + self.temperature * torch.einsum("nij,nj->ni", self.roots[k], noise)
