"""A capacity that grows, to which the KL is held: `kl=capacity`.

Reference: Understanding disentangling in beta-VAE (Burgess et al., 2018), equation 8,
arXiv:1804.03599
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting, check_beta, check_nats, check_period


class Capacity(KLWeighting):
    """beta * |KL - C(step)| with C(step) = nats * min(1, step / period).

    Where the KL is a sample (flows, mixtures, bottom_up) kl.mean should be true: that of each image
    would be pressed to C draw by draw, which narrows q(z|x) instead of moving its mean.

    Arguments:
        nats: The last capacity.
        period: Optimizer steps from capacity 0 to the last.
        beta: The strength (gamma in the paper, 1000 there). A large one lets nothing be learned
            while C is small: the KL then grows without any information in it.
        mean: Whether the mean KL of the images of a step, over all processes, is held to C, as in
            the paper, or the KL of each image.
    """

    linear = False

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
        return self.nats * min(1.0, step / self.period)

    def forward(self, kl: Tensor, step: int) -> Tensor:
        excess = kl.sum(-1) - self.capacity(step)
        if self.mean:
            return self.beta * self.mean_of_images(excess).sign() * excess
        return self.beta * excess.abs()
