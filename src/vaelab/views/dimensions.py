"""The dimensions of z and what each of them costs."""

from collections.abc import Mapping
from typing import NamedTuple

from torch.distributions import Distribution

from vaelab.data.base import DataModule, Split
from vaelab.distributions.codes import codes as of_codebook
from vaelab.distributions.layers import Layers
from vaelab.distributions.one_hot import OneHots
from vaelab.figures.style import symbol
from vaelab.metrics.latents import KLPerDimension
from vaelab.objectives.base import draw_with_kl
from vaelab.vae import VAE
from vaelab.views.base import IMAGES, Codes, each_posterior, looking, spread


def kl_by_dimension(vae: VAE, data: DataModule, split: Split) -> dict[str, float]:
    """Nats of each dimension (z1, ...), categorical variable (c1, ...) or layer (layer 1, ...).

    The mean over at most IMAGES of a split; empty where only the KL of the whole z is known.
    """
    if not vae.posterior.density:
        return {}
    names, metric = [], None
    with looking(vae):
        for model, q in each_posterior(vae, data, spread(split, IMAGES)):
            z, kl = draw_with_kl(q, model.latents())
            names = _names(q, by_dimension=kl.shape == z.shape, columns=kl.shape[-1])
            if not names:
                return {}
            metric = metric or KLPerDimension(len(names)).to(kl.device)
            metric.update(kl)
    return dict(zip(names, metric.compute().tolist(), strict=True)) if metric else {}


def _names(q: Distribution, by_dimension: bool, columns: int) -> list[str]:
    """Of the columns of the KL that `draw_with_kl` gives."""
    if isinstance(q, OneHots):
        variables = q.log_p.shape[-2]
        return _numbered("c", variables) + _numbered("z", columns - variables)
    if isinstance(q, Layers):
        return _numbered("layer ", columns)
    return _numbered("z", columns) if by_dimension else []


def _numbered(word: str, many: int) -> list[str]:
    return [f"{word}{number}" for number in range(1, many + 1)]


class Dimension(NamedTuple):
    """A number of z, or a categorical variable, which has several places in z.

    Attributes:
        nats: Its KL, None where that is not known.
        variance: Of its likeliest values.
    """

    name: str
    places: range
    nats: float | None
    variance: float

    @property
    def label(self) -> str:
        if self.nats is None:
            return f"{symbol(self.name)}   var {self.variance:.2f}"
        return f"{symbol(self.name)}   {self.nats:.2f} nats"


def dimensions(vae: VAE, codes: Codes, kl: Mapping[str, float]) -> list[Dimension]:
    """Those of the largest KL first, or where that is not known of the largest variance.

    Vectors of a codebook have none.
    """
    if vae.posterior.support is of_codebook:
        return []
    variables, categories, numbers = getattr(vae.posterior.support, "sizes", (0, 0, vae.latent_dim))
    first = variables * categories
    starts = [*range(0, first, categories or 1), *range(first, vae.latent_dim)]
    names = _numbered("c", variables) + _numbered("z", numbers)
    found = []
    for name, start in zip(names, starts, strict=True):
        places = range(start, start + (categories if start < first else 1))
        variance = codes.likeliest[:, places].var(0).sum().item()
        found.append(Dimension(name, places, kl.get(name), variance))
    return sorted(found, key=lambda each: -(each.variance if each.nats is None else each.nats))
