"""A VAE that is conditioned on labels: `model=conditional`, `model=conditional_conv`.

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
from vaelab.runtime.errors import UserError
from vaelab.vae import VAE

LOG_SCALE_BOUND = 7.0  # the largest |log s| of p(z|y)


class LabelledVAE(VAE):
    """A VAE that is conditioned on labels y, a class or attributes, if `labels` is a number.

    The model can only encode and decode after `condition_on(y)`.

    Arguments:
        labels: The number of classes, for labels (N,), or of attributes, for labels (N, labels);
            None for a model without labels.

    Raises:
        UserError: If `labels` is not positive.
    """

    labels: Any  # int, or None
    condition: Tensor | None = None

    def __init__(self, *, labels: int | None, **parts: Any):
        if labels is not None and labels < 1:
            raise UserError(f"model.labels={labels}: it must be at least 1")
        self.labels, self.conditional = labels, labels is not None
        super().__init__(**parts)
        if self.conditional and self.prior.classes is not None:
            raise UserError(
                "prior.classes: the labels of a conditional model already belong to q(z|x, y) and "
                "p(x|z, y): leave prior.classes out"
            )

    def check_labels(self, y: Tensor) -> None:
        if self.labels is None:
            return
        if y.ndim == 2 and y.shape[1] == 0:
            raise UserError(
                "a conditional model needs labels, but the data have none: add them (y in an npz "
                "file, a folder for each class of images), or set model=mlp or model=conv"
            )
        if y.ndim == 2 and y.shape[1] == 1 and self.labels != 1:
            raise UserError(
                f"the labels have shape {list(y.shape)}, which is one attribute: save classes with "
                "shape (N,), as in y[:, 0]"
            )
        if y.ndim == 1 and y.is_floating_point():
            raise UserError(
                f"classes must be integers, but the data's labels are {y.dtype}: convert them"
            )
        if y.ndim == 1 and len(y):
            self._check_classes(y.unique())
        elif y.ndim == 2 and y.shape[1] != self.labels:
            raise UserError(
                f"model.labels={self.labels}, but the data have {y.shape[1]} attributes: set "
                f"model.labels={y.shape[1]}"
            )

    def _check_classes(self, present: Tensor) -> None:
        """Refuse classes that do not count from 0 to labels - 1."""
        low, high, count = int(present[0]), int(present[-1]), len(present)
        if low >= 0 and high < self.labels:
            return
        if low < 0 or count <= min(self.labels, high):  # there are gaps, or 0 is missing
            listed = ", ".join(map(str, present[:5].tolist())) + ", ..." * (count > 5)
            raise UserError(
                f"classes must count from 0, but the {count} labels of the data are {listed}: "
                f"renumber them, as in numpy.unique(y, return_inverse=True)[1], with model.labels="
                f"{count}" + (f", or set model.labels={high + 1}" if low >= 0 else "")
            )
        raise UserError(
            f"model.labels={self.labels}, but the data have labels from {low} to {high}: set "
            f"model.labels={high + 1}"
        )

    def condition_on(self, y: Tensor) -> Self:
        """Return a view of the model that is conditioned on labels y and shares its weights.

        Arguments:
            y: Classes (B,) or attributes (B, labels); B = 1 is one label for all images.
        """
        if self.labels is None:
            return self
        if y.ndim == 1 and not y.is_floating_point():
            y = one_hot(y, self.labels)
        model = copy.copy(self)
        model.condition = y.float()
        return model

    def initialize(self, x: Tensor) -> None:
        if self.labels is None:
            super().initialize(x)
            return
        super(LabelledVAE, self.condition_on(x.new_zeros(1).long())).initialize(x)
        self.is_initialized = True  # so far only the conditioned copy is

    def _expand_condition(self, *lead: int) -> Tensor:
        """Return y expanded to (*lead, labels)."""
        if self.condition is None:
            raise UserError(
                "a conditional model needs the labels of its images to encode and decode: use "
                "vae.condition_on(labels)"
            )
        return self.condition.expand(*lead, -1)


class Conditional(LabelledVAE):
    """A VAE with q(z|x, y), p(z) or p(z|y), and p(x|z, y), where y is a class or attributes.

    The encoder gets y as one more channel, a learned linear map of y to an image; for tables y is
    appended as more columns. The decoder gets y as more latents.

    Arguments:
        labels: The number of classes, for labels (N,), or of attributes, for labels (N, labels).
        learned_prior: If True, the prior is p(z|y) = N(m(y), diag(s(y)^2)) with learned m and s.

    Raises:
        UserError: If `labels` is not positive, or the prior cannot be combined with labels.
    """

    def __init__(self, *, labels: int, learned_prior: bool = False, **parts: Any):
        super().__init__(labels=labels, **parts)
        if self.prior.support is None:
            raise UserError(
                "prior=vamp cannot be combined with model=conditional, because its pseudo-inputs "
                "have no labels: set prior=normal"
            )
        if learned_prior and not isinstance(self.prior, UnitNormal):
            raise UserError(
                "model.learned_prior=true replaces the prior by p(z|y), but another prior= is "
                "chosen: set prior=normal"
            )
        if learned_prior:
            self.prior = LabelPrior(self.latent_dim, labels)

    def build_networks(
        self, encoder: Callable[..., Any], decoder: Callable[..., Any]
    ) -> tuple[Any, Any]:
        size, *rest = self.encoder_shape
        extra_channels = 1 if rest else self.labels
        inside = encoder((size + extra_channels, *rest), self.posterior.inputs)
        outputs = (self.likelihood.outputs, *rest)
        return (
            LabelledEncoder(inside, self.labels, rest),
            decoder(self.decoder_inputs + self.labels, outputs),
        )

    def run_encoder(self, x: Tensor) -> Tensor:
        x = self.prepare_encoder_input(x)
        return self.run_network(lambda x: self.encoder(x, self._expand_condition(x.shape[0])), x)

    def prepare_decoder_input(self, z: Tensor) -> Tensor:
        z = super().prepare_decoder_input(z)
        return torch.cat([z, self._expand_condition(*z.shape[:-1]).to(z)], -1)

    def latents(self) -> Distribution:
        if isinstance(self.prior, LabelPrior) and self.condition is not None:
            return self.prior.condition_on(self.condition)
        return super().latents()


class LabelledEncoder(nn.Module):
    """An encoder that receives the label beside x.

    Arguments:
        inside: The encoder of images with one more channel, or of tables with `labels` more
            columns.
        labels: The number of classes or attributes.
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
    """The prior p(z|y) = N(m(y), diag(s(y)^2)), which is N(0, I) for every y before training."""

    def __init__(self, latent_dim: int, labels: int):
        super().__init__(latent_dim, ())
        self.parameters_of = nn.Linear(labels, 2 * latent_dim)
        nn.init.zeros_(self.parameters_of.weight)
        nn.init.zeros_(self.parameters_of.bias)

    def condition_on(self, y: Tensor) -> DiagonalNormal:
        """Return p(z|y) with batch shape (B,) for y (B, labels)."""
        mean, raw = self.parameters_of(y).chunk(2, -1)
        return diagonal_normal(mean, raw, LOG_SCALE_BOUND)
