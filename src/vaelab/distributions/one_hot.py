"""Joint distributions of categorical and normal latents."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.distributions.constraints import Constraint
from torch.nn.functional import one_hot

from vaelab.distributions.normal import DiagonalNormal


class OneHotConstraint(Constraint):
    """Latent vectors of one-hot vectors followed by real numbers.

    Arguments:
        variables: The number of one-hot vectors.
        categories: The length of each one-hot vector.
        normal: The number of real numbers.
    """

    is_discrete = True
    event_dim = 1

    def __init__(self, variables: int, categories: int, normal: int):
        self.sizes = variables, categories, normal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OneHotConstraint) and self.sizes == other.sizes

    __hash__ = Constraint.__hash__

    def __repr__(self) -> str:
        variables, categories, normal = self.sizes
        return f"{variables} one-hot vectors of {categories} and {normal} real numbers"

    def check(self, value: Tensor) -> Tensor:
        variables, categories, _ = self.sizes
        blocks = value[..., : variables * categories].unflatten(-1, (variables, categories))
        return constraints.one_hot.check(blocks).all(-1)


class OneHotAndNormal(Distribution):
    """The distribution of independent one-hot vectors c_i and of d normal numbers r, z = (c, r).

    p(z) = prod_i p(c_i) N(r).

    With a temperature T the samples of c_i are relaxed to softmax((logits_i + g) / T), where g is
    standard Gumbel noise. Relaxed samples have a gradient, but `log_prob` is not their density.

    Arguments:
        logits: (*batch, variables, categories).
        normal: The distribution of r, with event shape (d,); d may be 0.
        temperature: T (), or None for one-hot samples.

    References:
        Categorical Reparameterization with Gumbel-Softmax (Jang et al., 2017), arXiv:1611.01144
        The Concrete Distribution (Maddison et al., 2017), arXiv:1611.00712
    """

    has_rsample = True

    def __init__(self, logits: Tensor, normal: DiagonalNormal, temperature: Tensor | None = None):
        self.log_p = logits.log_softmax(-1)
        self.normal, self.temperature = normal, temperature
        size = logits.shape[-2] * logits.shape[-1] + normal.event_shape[0]
        super().__init__(logits.shape[:-2], torch.Size([size]), validate_args=False)

    @property
    def support(self) -> Any:
        variables, categories = self.log_p.shape[-2:]
        return OneHotConstraint(variables, categories, self.normal.event_shape[0])

    @property
    def mean(self) -> Tensor:
        return self._concatenate(self.log_p.exp(), self.normal.mean)

    @property
    def mode(self) -> Tensor:
        most_likely = one_hot(self.log_p.argmax(-1), self.log_p.shape[-1])
        return self._concatenate(most_likely.to(self.log_p), self.normal.mean)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        noise = torch.rand_like(self.log_p.expand(*sample_shape, *self.log_p.shape))
        noise = noise.clamp(torch.finfo(noise.dtype).tiny, 1 - torch.finfo(noise.dtype).eps)
        scores = self.log_p - (-noise.log()).log()
        if self.temperature is None:
            blocks = one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)
        else:
            blocks = (scores / self.temperature).softmax(-1)
        return self._concatenate(blocks, self.normal.rsample(sample_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute sum_i log p(c_i) + log N(r) for one-hot vectors c_i."""
        size = self.log_p.shape[-2] * self.log_p.shape[-1]
        blocks = value[..., :size].unflatten(-1, self.log_p.shape[-2:])
        return (blocks * self.log_p).sum((-2, -1)) + self.normal.log_prob(value[..., size:])

    def kl_per_variable(self, p: "OneHotAndNormal") -> Tensor:
        """Compute KL(self || p) of each categorical variable and each number, in nats.

        Returns:
            (*batch, variables + d).
        """
        discrete = (self.log_p.exp() * (self.log_p - p.log_p)).sum(-1)
        return torch.cat([discrete, self.normal.elementwise_kl(p.normal)], -1)

    def _concatenate(self, blocks: Tensor, numbers: Tensor) -> Tensor:
        return torch.cat([blocks.flatten(-2), numbers], -1)


@register_kl(OneHotAndNormal, OneHotAndNormal)
def _(q: OneHotAndNormal, p: OneHotAndNormal) -> Tensor:
    return q.kl_per_variable(p).sum(-1)
