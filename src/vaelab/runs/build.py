"""From a node of the config to its object: the only place that instantiates."""

import re
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

TOO_LARGE = re.compile("allocate memory|overflow", re.IGNORECASE)  # as torch says it
SMALLER = "lower latent_dim, or the sizes of model, posterior, prior or data"


def build_from_config(node: DictConfig, **settings: Any) -> Any:
    """What a node of the config describes, with plain lists and dicts inside."""
    try:
        return instantiate(node, _convert_="all", **settings)
    except InstantiationException as error:
        cause = error.__cause__
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if cause is not None and _fills_memory(cause):
            raise ValueError(f"{_of(node)} is larger than the memory: {SMALLER}") from cause
        raise (cause or error) from None


def _fills_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | OverflowError):
        return True
    return isinstance(error, RuntimeError) and bool(TOO_LARGE.search(str(error)))


def _of(node: DictConfig) -> str:
    return str(node.get("_target_", "a part")).rpartition(".")[2]
