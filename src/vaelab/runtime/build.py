"""Builds objects from config nodes. This is the only module that calls Hydra's `instantiate`."""

import re
import traceback
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from vaelab.runtime.errors import UserError

LIBRARIES = ("hydra", "omegaconf", "torch", "pytorch_lightning", "lightning_fabric", "vaelab")
MEMORY_ERROR = re.compile("allocate memory|overflow", re.IGNORECASE)  # in torch's messages


def build_from_config(node: DictConfig, **settings: Any) -> Any:
    """Build the object that a config node describes; nested lists and dicts become plain ones.

    Arguments:
        settings: Arguments that replace or extend those of the node.

    Raises:
        UserError: If the object does not fit into memory, or a class of torch or Lightning refuses
            an argument. Other errors are those of the class.
    """
    try:
        return instantiate(node, _convert_="all", **settings)
    except InstantiationException as error:
        cause = error.__cause__
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if cause is not None and _is_memory_error(cause):
            name = str(node.get("_target_", "a part")).rpartition(".")[2]
            raise UserError(
                f"{name} does not fit into memory: lower latent_dim, or the sizes of model, "
                "posterior, prior or data"
            ) from cause
        if isinstance(cause, ValueError) and _passes_through_libraries_only(cause):
            raise UserError(str(cause)) from cause
        raise (cause or error) from None


def _passes_through_libraries_only(error: BaseException) -> bool:
    """True if no code of the user raised the error or called what raised it."""
    packages = {
        str(frame.f_globals.get("__name__")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    }
    return packages <= {*LIBRARIES}


def _is_memory_error(error: BaseException) -> bool:
    if isinstance(error, MemoryError | OverflowError):
        return True
    return isinstance(error, RuntimeError) and bool(MEMORY_ERROR.search(str(error)))
