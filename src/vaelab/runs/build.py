"""Builds objects from config nodes. This is the only module that calls Hydra's `instantiate`."""

import re
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

MEMORY_ERROR = re.compile("allocate memory|overflow", re.IGNORECASE)  # in torch's messages


def build_from_config(node: DictConfig, **settings: Any) -> Any:
    """Build the object that a config node describes; nested lists and dicts become plain ones.

    Arguments:
        settings: Arguments that replace or extend those of the node.

    Raises:
        ValueError: If the object does not fit into memory. Other errors are those of the class.
    """
    try:
        return instantiate(node, _convert_="all", **settings)
    except InstantiationException as error:
        cause = error.__cause__
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if cause is not None and _is_memory_error(cause):
            name = str(node.get("_target_", "a part")).rpartition(".")[2]
            raise ValueError(
                f"{name} does not fit into memory: lower latent_dim, or the sizes of model, "
                "posterior, prior or data"
            ) from cause
        raise (cause or error) from None


def _is_memory_error(error: BaseException) -> bool:
    if isinstance(error, MemoryError | OverflowError):
        return True
    return isinstance(error, RuntimeError) and bool(MEMORY_ERROR.search(str(error)))
