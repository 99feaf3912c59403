"""Values of the wrong type in a config, found before anything is built."""

import inspect
from typing import Any, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError


def check_types(node: DictConfig, path: str = "") -> None:
    """Refuse a plain value that its `_target_` does not take, by the target's annotations."""
    hints = _hints(node["_target_"]) if "_target_" in node else {}
    written: Any = OmegaConf.to_container(node, resolve=False)
    for key, text in written.items():
        if text == "???":
            raise ValueError(f"{path}{key} is missing: set it, as in {path}{key}=...")
        linked = isinstance(text, str) and text.startswith("${")
        value = node[key]
        if not isinstance(value, DictConfig):
            if key in hints:
                value = OmegaConf.to_container(value) if OmegaConf.is_list(value) else value
                _check(text.strip("${}") if linked else f"{path}{key}", value, hints[key])
        elif not linked:  # what a link points to is checked in its own place
            check_types(value, f"{path}{key}.")


def _hints(target: str) -> dict[str, Any]:
    try:
        found = get_object(target)
        return get_type_hints(found.__init__ if inspect.isclass(found) else found)
    except (NameError, TypeError):
        return {}


def _check(name: str, value: Any, hint: Any) -> None:
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        return
    try:
        taken = adapter.validate_python(value)
    except ValidationError as error:
        wanted = ", or ".join(dict.fromkeys(each["msg"] for each in error.errors()))
        raise ValueError(f"{name}={value}: {wanted[0].lower() + wanted[1:]}") from error
    if taken != (type(taken)(value) if isinstance(value, list) else value):
        raise ValueError(f"{name}={value}: it must be of type {type(taken).__name__}")
