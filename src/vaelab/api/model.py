"""`vaelab.make_model`: a VAE of options of conf/, of factories and of objects."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from torch import nn

from vaelab.cli.overrides import compose_checked
from vaelab.likelihoods.base import Likelihood
from vaelab.models import plain
from vaelab.posteriors.base import Posterior
from vaelab.priors.base import Prior
from vaelab.runs.factories import describe_factory
from vaelab.runs.weights import hash_weights
from vaelab.runtime.build import build_from_config
from vaelab.vae import VAE

PLACES = {  # of a part in the composed config
    "encoder": "model.encoder",
    "decoder": "model.decoder",
    "posterior": "posterior",
    "prior": "prior",
    "loss": "loss",
}


class ModelRecipe(NamedTuple):
    """How `make_model` built a VAE, for the record of its run.

    Attributes:
        words: The words of the command line that select its options.
        nodes: The config nodes of the parts that are given as importable factories.
        given: The names of the parts that are given as objects.
        initial: The hash of the initial weights.
    """

    words: list[str]
    nodes: dict[str, dict[str, Any]]
    given: list[str]
    initial: str = ""


def make_model(
    shape: Sequence[int],
    latent_dim: int | None = None,
    *,
    model: str = "mlp",
    posterior: str | Posterior | Callable[..., Posterior] = "diagonal",
    prior: str | Prior | Callable[..., Prior] = "normal",
    loss: str | Likelihood | Callable[..., Likelihood] = "bce",
    encoder: nn.Module | Callable[..., nn.Module] | None = None,
    decoder: nn.Module | Callable[..., nn.Module] | None = None,
    missing: bool = False,
) -> VAE:
    """Build a VAE.

    A word names an option of conf/, and keys may follow it, as in the words of a command line:
    loss="gaussian loss.scale=optimal". A factory (a class or a function) is called by vaelab. An
    object is taken as it is.

    Arguments:
        shape: The shape of one x: (C,) for tables, (C, L) for series, (C, H, W) for images and
            (C, D, H, W) for volumes.
        latent_dim: The number of latent dimensions; None is the default of the model, for most 20.
        model: The architecture, an option of conf/model.
        posterior: q(z|x). A factory is called with latent_dim.
        prior: p(z). A factory is called with (latent_dim, shape).
        loss: p(x|z). A factory is called with shape.
        encoder: A network of your own, which maps x (B, *shape) to (B, posterior.inputs); for
            posterior=diagonal the mean and the logarithm of the standard deviation, 2 * latent_dim
            values. A factory is called with (shape, posterior.inputs).
        decoder: A network of your own, which maps z (B, latent_dim) to the parameters of p(x|z);
            for loss=bce the logits (B, *shape). A factory is called with (latent_dim, shape).
        missing: True if values of x may be missing, as in data of make_data(x, missing="mask"). The
            encoder then gets twice as many channels: x with 0 for missing values, and 1 where x is
            observed.

    Raises:
        UserError: If there is no such option, or the parts do not fit each other.
    """
    parts = {"posterior": posterior, "prior": prior, "loss": loss}
    parts |= {"encoder": encoder, "decoder": decoder}
    words = [] if latent_dim is None else [f"latent_dim={latent_dim}"]
    for group, value, default in (
        ("model", model, "mlp"),
        ("posterior", posterior, "diagonal"),
        ("prior", prior, "normal"),
        ("loss", loss, "bce"),
    ):
        if isinstance(value, str) and value != default:  # as above
            words += f"{group}={value}".split()
    nodes, objects = {}, {}
    for name, part in parts.items():
        if isinstance(part, str) or part is None:
            continue
        if node := _describe_part(name, part):
            nodes[name] = node
        else:
            objects[name] = _make_factory(name, part)
    cfg = compose_checked("train", words)
    insert_nodes(cfg, nodes)
    if "loss" in objects:
        objects["likelihood"] = objects.pop("loss")
    if missing:
        objects["missing"] = True
    vae: VAE = build_from_config(cfg.module.vae, shape=list(shape), **objects)
    objects.pop("missing", None)
    given = ["loss" if name == "likelihood" else name for name in objects]
    vae.recipe = ModelRecipe(words, nodes, given, hash_weights(vae.state_dict()))
    return vae


def insert_nodes(cfg: DictConfig, nodes: Mapping[str, dict[str, Any]]) -> None:
    """Put the nodes of a ModelRecipe into a composed config."""
    for name, node in nodes.items():
        OmegaConf.update(cfg, PLACES[name], node, merge=False, force_add=True)


def _describe_part(name: str, part: Any) -> dict[str, Any] | None:
    """Return the config node of a part that is an importable factory."""
    node = describe_factory(part)
    if node is None:
        return None
    if name in ("encoder", "decoder"):
        wrapper = plain.Encoder if name == "encoder" else plain.Decoder
        target = f"{wrapper.__module__}.{wrapper.__name__}"
        return {"_target_": target, "_partial_": True, "network": node | {"_partial_": True}}
    return node | {"_partial_": True}


def _make_factory(name: str, part: Any) -> Callable[..., Any]:
    """Return a factory of a part that is an object, or a factory that cannot be imported."""
    if name in ("encoder", "decoder"):
        return partial(plain.Encoder if name == "encoder" else plain.Decoder, network=part)
    return (lambda *_: part) if isinstance(part, nn.Module) else part
