"""One-hot vectors, with normal numbers beside them."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.distributions.constraints import Constraint
from torch.nn.functional import one_hot

from vaelab.distributions.normal import DiagonalNormal


class OneHotBlocks(Constraint):
    """z of `variables` one-hot vectors of `categories`, and `normal` real numbers."""

    is_discrete = True
    event_dim = 1

    def __init__(self, variables: int, categories: int, normal: int):
        self.sizes = variables, categories, normal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OneHotBlocks) and self.sizes == other.sizes

    __hash__ = Constraint.__hash__

    def __repr__(self) -> str:
        variables, categories, normal = self.sizes
        return f"{variables} one-hot vectors of {categories} and {normal} real numbers"

    def check(self, value: Tensor) -> Tensor:
        variables, categories, _ = self.sizes
        blocks = value[..., : variables * categories].unflatten(-1, (variables, categories))
        return constraints.one_hot.check(blocks).all(-1)


class OneHots(Distribution):
    """p(z) = prod_i p(c_i) N(rest), c_i the category of the i-th one-hot vector.

    With a temperature T draws are relaxed, softmax((logits + g) / T), g standard Gumbel: they have
    a gradient, and no probability.

    Arguments:
        logits: (*, variables, categories).
        normal: Of the rest, event (d,), d perhaps 0.

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
        return OneHotBlocks(variables, categories, self.normal.event_shape[0])

    @property
    def mean(self) -> Tensor:
        return self._joined(self.log_p.exp(), self.normal.mean)

    @property
    def mode(self) -> Tensor:
        likeliest = one_hot(self.log_p.argmax(-1), self.log_p.shape[-1])
        return self._joined(likeliest.to(self.log_p), self.normal.mean)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        noise = torch.rand_like(self.log_p.expand(*sample_shape, *self.log_p.shape))
        noise = noise.clamp(torch.finfo(noise.dtype).tiny, 1 - torch.finfo(noise.dtype).eps)
        scores = self.log_p - (-noise.log()).log()
        if self.temperature is None:
            chosen = one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)
        else:
            chosen = (scores / self.temperature).softmax(-1)
        return self._joined(chosen, self.normal.rsample(sample_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(c_i) summed, and the log density of the rest."""
        size = self.log_p.shape[-2] * self.log_p.shape[-1]
        blocks = value[..., :size].unflatten(-1, self.log_p.shape[-2:])
        return (blocks * self.log_p).sum((-2, -1)) + self.normal.log_prob(value[..., size:])

    def kl(self, p: "OneHots") -> Tensor:
        """KL(self || p) (*, variables + d): of each variable by enumeration, of each number."""
        discrete = (self.log_p.exp() * (self.log_p - p.log_p)).sum(-1)
        return torch.cat([discrete, self.normal.kl(p.normal)], -1)

    def _joined(self, blocks: Tensor, rest: Tensor) -> Tensor:
        return torch.cat([blocks.flatten(-2), rest], -1)


@register_kl(OneHots, OneHots)
def _(q: OneHots, p: OneHots) -> Tensor:
    return q.kl(p).sum(-1)
