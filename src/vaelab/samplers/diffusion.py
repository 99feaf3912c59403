"""A diffusion model that is fitted to the latents: `sampler=diffusion`.

Reference: Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
arXiv:2206.00364
"""

from vaelab.priors.diffusion import Diffusion
from vaelab.samplers.flow_matching import FlowMatchingSampler


class DiffusionSampler(FlowMatchingSampler):
    """The probability-flow ODE of `prior=diffusion`. Arguments: see `FlowMatchingSampler`."""

    family = Diffusion
