"""A diffusion model of the latents, trained in a finished run: `prior=diffusion`.

References:
    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), table
    1, arXiv:2206.00364
    Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022), appendix
    D, arXiv:2202.00512
    Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models (Lu and Song, 2024),
    section 3.1, arXiv:2410.11081
"""

import math

import torch
from torch import Tensor

from vaelab.priors.flow_matching import FlowMatching

LOG_NOISE_MEAN, LOG_NOISE_SCALE = -0.4, 1.2  # of ln(sigma), for data of the standard deviation 1
LOG_NOISE_BOUND = 5.0  # sigma from exp(-5) to exp(5)


class Diffusion(FlowMatching):
    """The distribution of the probability-flow ODE of a variance-preserving diffusion.

    With the angle a = pi (1 - t) / 2, the noise e ~ N(0, I) replaces standardized latents u by

        u_t = cos(a) u + sin(a) e,    of which x = u_t / cos(a) = u + tan(a) e

    has noise of the standard deviation sigma = tan(a). The network F gives the denoiser
    D(x, sigma) = cos(a) u_t - sin(a) F(u_t, t), with the preconditioning of Karras et al. for data
    of the standard deviation 1, and is trained with their weights and their distribution of sigma:

        loss = (pi/2)^2 |F(u_t, t) - (cos(a) e - sin(a) u)|^2,    ln sigma ~ N(-0.4, 1.2^2)

    F is the derivative of u_t with respect to a, so the probability-flow ODE is
    du/dt = -pi/2 F(u, t), from noise at t = 0 to latents at t = 1. Arguments: see `FlowMatching`.
    """

    def predict(self, u: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        return -math.pi / 2 * self._run_network(u, t, y)

    def interpolate(self, u: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        angle = math.pi / 2 * (1 - t)
        point = angle.cos() * u + angle.sin() * noise
        return point, -math.pi / 2 * (angle.cos() * noise - angle.sin() * u)

    def sample_times(self, count: int) -> Tensor:
        """Sample times t (count,) with ln tan(a) ~ N(-0.4, 1.2^2), one from each quantile."""
        quantiles = super().sample_times(count).double().clamp(1e-9, 1 - 1e-9)
        log_noise = LOG_NOISE_MEAN + LOG_NOISE_SCALE * torch.special.ndtri(quantiles)
        log_noise = log_noise.clamp(-LOG_NOISE_BOUND, LOG_NOISE_BOUND)
        return (1 - 2 / math.pi * log_noise.exp().atan()).float()
