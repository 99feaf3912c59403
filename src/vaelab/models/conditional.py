"""A model that knows the labels of its images: `model=conditional`, `model=conditional_conv`.

Reference: Learning Structured Output Representation using Deep Conditional Generative Models
(Sohn et al., 2015), NeurIPS 28
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import one_hot

from vaelab.distributions.normal import DiagonalNormal
from vaelab.posteriors.base import diagonal_normal
from vaelab.priors.normal import UnitNormal
from vaelab.vae import VAE

BOUND = 7.0  # of |log s| of p(z|y)


class Conditional(VAE):
    """q(z|x, y), p(z) or p(z|y), and p(x|z, y), for y a class or some attributes.

    The encoder sees y as one more channel, a learned picture of it (of a table, as more columns),
    the decoder as more latents. `given(y)` is the model whose y is known, and only that can encode
    and decode.

    Arguments:
        labels: The number of classes, of labels (N,), or of attributes, of labels (N, labels).
        learned_prior: Whether the prior is p(z|y) = N(m(y), diag(s(y)^2)), learned.
    """

    conditional = True

    def __init__(self, *, labels: int, learned_prior: bool = False, **parts: Any):
        if labels < 1:
            raise ValueError(f"model.labels={labels}: it must be at least 1")
        self.labels = labels
        super().__init__(**parts)
        self.known: Tensor | None = None
        if self.prior.support is None:
            raise ValueError("pseudo-inputs have no labels: set prior=normal")
        if learned_prior and not isinstance(self.prior, UnitNormal):
            raise ValueError("model.learned_prior=true is a prior of its own: set prior=normal")
        if learned_prior:
            self.prior = LabelPrior(self.latent_dim, labels)

    def build_networks(
        self, encoder: Callable[..., Any], decoder: Callable[..., Any]
    ) -> tuple[Any, Any]:
        size, *rest = self.shape
        more = 1 if rest else self.labels
        inside = encoder((size + more, *rest), self.posterior.inputs)
        outputs = (self.likelihood.outputs, *rest)
        return (
            Encoder(inside, self.labels, rest),
            decoder(self.latent_dim + self.labels, outputs),
        )

    def check_labels(self, y: Tensor) -> None:
        if y.ndim == 1 and y.is_floating_point():
            raise ValueError(f"classes are integers, but the data's labels are {y.dtype}")
        if y.ndim == 1 and (y < 0).any():
            raise ValueError(f"classes count from 0, but the data's labels begin at {int(y.min())}")
        classes = int(y.max()) + 1 if y.ndim == 1 and len(y) else 0
        columns = y.shape[1] if y.ndim == 2 else self.labels
        if classes > self.labels or columns != self.labels:
            found = f"{columns} attributes" if y.ndim == 2 else f"{classes} classes"
            raise ValueError(
                f"model.labels={self.labels}, but the data's labels are {found}: set model.labels"
            )

    def condition_on(self, y: Tensor) -> Self:
        """The model of labels y: classes (B,) or attributes (B, labels), or one for all images."""
        if y.ndim == 1 and not y.is_floating_point():
            y = one_hot(y, self.labels)
        model = copy.copy(self)
        model.known = y.float()
        return model

    def read(self, x: Tensor) -> Tensor:
        return self._run(lambda x: self.encoder(x, self._label(x.shape[0])), x)

    def decode(self, z: Tensor) -> Distribution:
        return super().decode(torch.cat([z, self._label(*z.shape[:-1]).to(z)], -1))

    def latents(self) -> Distribution:
        if isinstance(self.prior, LabelPrior) and self.known is not None:
            return self.prior.of(self.known)
        return super().latents()

    def initialize(self, x: Tensor) -> None:
        super(Conditional, self.condition_on(x.new_zeros(1).long())).initialize(x)

    def _label(self, *lead: int) -> Tensor:
        if self.known is None:
            raise ValueError(
                "this model knows the labels of its images: use vae.condition_on(labels)"
            )
        return self.known.expand(*lead, -1)


class Encoder(nn.Module):
    """The encoder inside sees x with the label beside it.

    Arguments:
        inside: From pictures of one more channel, or tables of `labels` more columns.
        rest: The shape of x without its first dimension.
    """

    def __init__(self, inside: nn.Module, labels: int, rest: Sequence[int]):
        super().__init__()
        self.inside, self.rest = inside, tuple(rest)
        self.picture = nn.Linear(labels, math.prod(rest)) if rest else None

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if self.picture is not None:
            y = self.picture(y).unflatten(-1, (1, *self.rest))
        return self.inside(torch.cat([x, y.to(x)], 1))


class LabelPrior(UnitNormal):
    """p(z|y) = N(m(y), diag(s(y)^2)), which starts at N(0, I) for every y."""

    def __init__(self, latent_dim: int, labels: int):
        super().__init__(latent_dim, ())
        self.parameters_of = nn.Linear(labels, 2 * latent_dim)
        nn.init.zeros_(self.parameters_of.weight)
        nn.init.zeros_(self.parameters_of.bias)

    def of(self, y: Tensor) -> DiagonalNormal:
        mean, raw = self.parameters_of(y).chunk(2, -1)
        return diagonal_normal(mean, raw, BOUND)
