"""Describes objects that a program passes to vaelab as config nodes, so that its run can be opened.

A class or a function of a module, and a functools.partial of one with plain keyword arguments, can
be imported again by name. An object cannot: the run lists it under GIVEN, and is opened with the
object at hand.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig

GIVEN = "given_in_python"  # the key of a config that lists its parts that are objects
MODEL_PARTS = ("vae", "encoder", "decoder", "posterior", "prior", "loss", "objective", "kl")


def describe_factory(factory: Any) -> dict[str, Any] | None:
    """Return the config node of an importable class or function, or None for anything else."""
    settings: Mapping[str, Any] = {}
    if isinstance(factory, partial):
        if factory.args:
            return None
        settings, factory = factory.keywords, factory.func
    module, qualified = (getattr(factory, name, "") for name in ("__module__", "__qualname__"))
    if module in ("", "__main__") or not qualified.isidentifier() or not _is_plain(settings):
        return None
    name = f"{module}.{qualified}"
    try:
        found = get_object(name)
    except Exception:  # noqa: BLE001, importing a module may raise anything
        return None
    return {"_target_": name, **settings} if found is factory else None


def _is_plain(value: Any) -> bool:
    """True if a config can hold the value as it is."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, str):
        return "${" not in value
    return value is None or isinstance(value, bool | int | float)


def list_given_model_parts(cfg: DictConfig) -> list[str]:
    """Return the parts of the model and its objective that a config lists as given objects."""
    given = cfg.get(GIVEN) or []
    return [name for name in MODEL_PARTS if name in given]
