"""The settings of an optimizer of another class: `optimizer._target_=torch.optim.RMSprop`."""

import inspect
from typing import Any

from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from vaelab.runtime.installation import CONF


def drop_unused_optimizer_settings(cfg: DictConfig) -> None:
    """Remove settings of a replaced option that the class of cfg.optimizer does not take.

    Only keys that still have the value of an option in conf/optimizer are removed: nobody chose
    them. All others are left to `check_types`, which refuses them.
    """
    node = cfg.get("optimizer")
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return
    try:
        parameters = inspect.signature(get_object(node._target_)).parameters.values()
    except (HydraException, ImportError, TypeError, ValueError):  # check_types says what is wrong
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    names = {each.name for each in parameters}
    options: list[Any] = [OmegaConf.load(path) for path in sorted(CONF.glob("optimizer/*.yaml"))]
    cfg.optimizer = {
        key: value
        for key, value in node.items_ex(resolve=False)
        if key in names
        or str(key).startswith("_")
        or not any(key in option and option[key] == value for option in options)
    }
