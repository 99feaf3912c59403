"""Checks which classes a config may build, for configs that may come from anybody."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from vaelab.runtime.errors import UserError

TRUSTED = (
    "vaelab.",
    "torch.optim.",
    "torchmetrics.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
    "pytorch_lightning.trainer.",
)
TRAINER = "pytorch_lightning.Trainer"  # the public name of a class of pytorch_lightning.trainer
HYDRA_KEYS = ("_target_", "_partial_")  # the keys of Hydra that experiments need
KEY = r"[A-Za-z_]\w*(?:\.\w+)*"
INTERPOLATIONS = re.compile(  # to other keys of the config, and to Hydra's name of the run folder
    rf"\$\{{(?:{KEY}|oc\.select:{KEY},[\w.-]+|hydra:(?:runtime\.output_dir|job\.override_dirname))\}}"
)
DATA_ROOT = "${oc.env:VAELAB_DATA,data}"  # of data.root, which alone may read the environment


def check_config(cfg: DictConfig) -> None:
    """Check that a config builds only parts of an experiment and reads only its own keys.

    An interpolation may name another key; `${oc.select:key,default}` and the two values of Hydra
    that conf/ uses are accepted too. Only data.root may read the environment, as in conf/data.

    Raises:
        UserError: If the config asks for anything else.
    """
    for path, value in iterate_values("", OmegaConf.to_container(cfg, resolve=False)):
        key = path.rpartition(".")[2]
        if key == "_target_":
            _check_target(path, value)
        elif re.fullmatch("_.*_", key) and key not in HYDRA_KEYS:
            raise UserError(
                f"{path}: an untrusted config may contain {' and '.join(HYDRA_KEYS)} only"
            )
        if isinstance(value, str) and not _has_safe_interpolations(path, value):
            raise UserError(
                f"{path}: {value}: an untrusted config may only refer to its own keys: replace the "
                "interpolation by its value if you trust it"
            )


def iterate_values(path: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value of nested dicts and lists with its dotted key."""
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            child_path = f"{path}.{key}" if path else str(key)
            yield child_path, child
            yield from iterate_values(child_path, child)


def _check_target(path: str, target: Any) -> None:
    try:
        is_trusted = isinstance(target, str) and target.startswith((*TRUSTED, TRAINER))
        found = get_object(target) if is_trusted else None
    except Exception as error:  # importing a module may raise anything
        raise UserError(f"{path}: {target}: there is no such class") from error
    if not inspect.isclass(found) or not f"{found.__module__}.".startswith(TRUSTED):
        raise UserError(f"{path}: {target} is not a class of {' or '.join(TRUSTED)}")


def _has_safe_interpolations(path: str, value: str) -> bool:
    is_data_root = path == "data.root" and value == DATA_ROOT
    return is_data_root or "${" not in INTERPOLATIONS.sub("", value)
