"""The settings of an optimizer of another class: `optimizer._target_=torch.optim.RMSprop`."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from vaelab.runs.config_types import check_types
from vaelab.runtime.errors import UserError
from vaelab.runtime.installation import CONF


def drop_unused_optimizer_settings(cfg: DictConfig) -> None:
    """Remove settings of a replaced option that the class of cfg.optimizer does not take.

    Only keys that still have the value of an option in conf/optimizer are removed: nobody chose
    them. All others are left to `check_types`, which refuses them.
    """
    node = cfg.get("optimizer")
    if isinstance(node, DictConfig) and "_target_" in node:
        options: list[Any] = [OmegaConf.load(path) for path in CONF.glob("optimizer/*.yaml")]
        cfg.optimizer = {
            key: value
            for key, value in node.items_ex(resolve=False)
            if str(key).startswith("_")
            or not any(key in option and option[key] == value for option in options)
            or _is_accepted(node._target_, str(key), value)
        }


def _is_accepted(target: str, key: str, value: Any) -> bool:
    try:
        check_types(DictConfig({"_target_": target, key: value}))
    except UserError:
        return False
    return True
