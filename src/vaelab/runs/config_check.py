"""Wrong names and types of values in a config, found before anything is built."""

import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError


def check_types(node: DictConfig, path: str = "") -> None:
    """Refuse a key that its `_target_` does not take, and a value that its annotation excludes."""
    hints: dict[str, Any] = {}
    written: Any = OmegaConf.to_container(node, resolve=False)
    if "_target_" in written:
        target = _found(written["_target_"], path)
        _check_names(target, [key for key in written if not key.startswith("_")], path)
        hints = _hints(target)
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


def _found(target: str, path: str) -> Any:
    try:
        return get_object(target)
    except (ImportError, ValueError, HydraException) as error:
        raise ValueError(f"{path}_target_={target}: there is no such class") from error


def _check_names(target: Any, keys: list[str], path: str) -> None:
    if _takes_any(target):
        return
    parameters = inspect.signature(target).parameters
    for key in keys:
        if key not in parameters:
            raise ValueError(f"{path}{key}: {target.__name__} takes {', '.join(parameters)}")


def _takes_any(target: Any) -> bool:
    parameters = inspect.signature(target).parameters.values()
    return any(each.kind is each.VAR_KEYWORD for each in parameters)


def _hints(target: Any) -> dict[str, Any]:
    """The types of the arguments, with those that **kwargs hand on to the class above."""
    hints: dict[str, Any] = {}
    for taker in _takers(target):
        try:
            hints = get_type_hints(taker) | hints
        except (NameError, TypeError):
            continue
    return hints


def _takers(target: Any) -> Iterator[Any]:
    """What takes the arguments: a function, or an __init__ and what it hands **kwargs on to."""
    if not inspect.isclass(target):
        yield target
        return
    for above in target.__mro__:
        if init := vars(above).get("__init__"):
            yield init
            if not _takes_any(init):
                return


def _check(name: str, value: Any, hint: Any) -> None:
    if not _fits(value):
        raise ValueError(f"{name}={value}: whole numbers have 64 bits, not more")
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        return
    try:
        taken = adapter.validate_python(value)
    except ValidationError as error:
        wanted = ", or ".join(dict.fromkeys(each["msg"] for each in error.errors()))
        raise ValueError(f"{name}={value}: {wanted.replace('Input', 'it')}") from error
    if not _same_type(taken, value):
        raise ValueError(f"{name}={value}: write {name}={taken}")


def _fits(value: Any) -> bool:
    """Whether torch has room for every whole number."""
    if isinstance(value, list):
        return all(map(_fits, value))
    return type(value) is not int or -(2**63) <= value < 2**63


def _same_type(taken: Any, value: Any) -> bool:
    """Whether nothing had to be converted; a whole number will do for a float."""
    if isinstance(value, list):
        return all(map(_same_type, taken, value))
    return type(taken) is type(value) or (type(taken), type(value)) == (float, int)
