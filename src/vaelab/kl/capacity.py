"""A target for the KL that grows during training: `kl=capacity`.

Reference: Understanding disentangling in beta-VAE (Burgess et al., 2018), equation 8,
arXiv:1804.03599
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting, check_beta, check_nats, check_period


class Capacity(KLWeighting):
    """The distance of the KL from a capacity C, which grows linearly.

        beta * |KL - C(step)|,    C(step) = nats * min(1, step / period)

    Set kl.mean=true where the KL is estimated from one sample (flows, mixtures, model=bottom_up).
    Otherwise each noisy estimate is pulled to C, which makes q(z|x) narrower instead of moving its
    mean.

    Arguments:
        nats: The final capacity in nats.
        period: The number of optimizer steps from capacity 0 to the final one.
        beta: The weight, gamma in the paper and 1000 there. With a large weight the model learns
            nothing while C is small, and later the KL grows without information about x.
        mean: If true, the mean KL over the images of a step and over all processes is pulled to C,
            as in the paper; if false, the KL of each image.

    Raises:
        UserError: If a setting is out of range.
    """

    is_linear = False

    def __init__(
        self, nats: float = 25.0, period: int = 10_000, beta: float = 3.0, mean: bool = False
    ):
        super().__init__()
        check_beta(beta)
        check_period(period)
        check_nats(nats)
        self.nats = nats
        self.period = period
        self.beta = beta
        self.mean = mean

    def weight(self, step: int) -> float:
        return self.beta

    def capacity(self, step: int) -> float:
        """Return C in nats after `step` optimizer steps."""
        return self.nats * min(1.0, step / self.period)

    def has_arrived(self, steps: int) -> bool:
        return steps > self.period

    def describe_progress(self, steps: int) -> str:
        return f"a capacity of {self.capacity(max(steps - 1, 0)):.3g} of {self.nats:.3g} nats"

    def forward(self, kl: Tensor, step: int) -> Tensor:
        excess = kl.sum(-1) - self.capacity(step)
        if self.mean:
            return self.beta * self.mean_over_images(excess).sign() * excess
        return self.beta * excess.abs()
