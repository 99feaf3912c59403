"""Finds keys of a config that would have no effect."""

import re
from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vaelab.runtime.errors import UserError, suggest
from vaelab.runtime.installation import CONF
from vaelab.runtime.trusted_config import iterate_values

INTERPOLATION = re.compile(r"\$\{[^}]*")
NAME = re.compile(r"[A-Za-z_][\w.]*")  # a dotted key


def list_config_keys() -> set[str]:
    """Return the keys of the config of a training: those of conf/train.yaml and its groups."""
    recipe: Any = OmegaConf.to_container(OmegaConf.load(CONF / "train.yaml"), resolve=False)
    groups = {key for each in recipe["defaults"] if isinstance(each, dict) for key in each}
    return {*recipe, *groups} - {"defaults", "hydra"}


def check_keys_are_read(cfg: DictConfig, keys: Iterable[str]) -> None:
    """Check that each of some keys is an argument of a class, or that another value refers to it.

    Raises:
        UserError: If a key would have no effect.
    """
    values = dict(iterate_values("", OmegaConf.to_container(cfg, resolve=False)))
    links = [link for text in values.values() for link in INTERPOLATION.findall(str(text))]
    names = {name for link in links for name in NAME.findall(link)}
    for key in keys:
        parts = key.split(".")
        nodes = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
        is_argument = any(f"{node}._target_" in values for node in nodes)
        if is_argument or any(f"{name}.".startswith(f"{key}.") for name in names):
            continue
        parent, is_nested, name = key.rpartition(".")
        siblings = [each.rpartition(".")[2] for each in values if each.rpartition(".")[0] == parent]
        siblings.remove(name)
        hint = suggest(name, siblings, parent + is_nested)
        raise UserError(
            f"{key}: there is no such key; {hint or 'no value of the config refers to it'}"
        )
