"""Checks the names and types of config values before anything is built."""

import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from vaelab.runtime.errors import UserError, suggest


def check_types(node: DictConfig, path: str = "") -> None:
    """Check a config node and all nodes in it against the signatures of their `_target_`s.

    Arguments:
        path: The key of the node with a dot at its end; "" for a whole config.

    Raises:
        UserError: If a key is no argument, or a value does not fit the argument's annotation.
    """
    hints: dict[str, Any] = {}
    written: Any = OmegaConf.to_container(node, resolve=False)
    if "_target_" in written:
        target = _find_target(written["_target_"], path)
        _check_names(target, [key for key in written if not key.startswith("_")], path)
        hints = _argument_hints(target)
    for key, text in written.items():
        if text == "???":
            raise UserError(f"{path}{key} is missing: set it, as in {path}{key}=...")
        is_link = isinstance(text, str) and text.startswith("${")
        value = node[key]
        if not isinstance(value, DictConfig):
            if key in hints:
                value = _resolve_list(value) if OmegaConf.is_list(value) else value
                _check_value(text.strip("${}") if is_link else f"{path}{key}", value, hints[key])
        elif not is_link:  # the target of a link is checked under its own key
            check_types(value, f"{path}{key}.")


def _resolve_list(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True)


def _find_target(target: str, path: str) -> Any:
    try:
        return get_object(target)
    except (ImportError, ValueError, HydraException) as error:
        raise UserError(f"{path}_target_={target}: there is no such class") from error


def _check_names(target: Any, keys: list[str], path: str) -> None:
    if _takes_any_name(target):
        return
    parameters = inspect.signature(target).parameters
    for key in keys:
        if key not in parameters:
            hint = suggest(key, parameters, path)
            takes = f"{target.__name__} takes {', '.join(parameters) or 'no keys'}"
            raise UserError(f"{path}{key}: there is no such key; {hint or takes}")


def _takes_any_name(target: Any) -> bool:
    parameters = inspect.signature(target).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _argument_hints(target: Any) -> dict[str, Any]:
    """Return the annotations of the arguments, with those that **kwargs pass to a base class."""
    hints: dict[str, Any] = {}
    for function in _functions_taking_arguments(target):
        try:
            hints = get_type_hints(function) | hints
        except (NameError, TypeError):
            continue
    return hints


def _functions_taking_arguments(target: Any) -> Iterator[Any]:
    """Yield a function, or each __init__ of a class up to one that has no **kwargs."""
    if not inspect.isclass(target):
        yield target
        return
    for base in target.__mro__:
        if init := vars(base).get("__init__"):
            yield init
            if not _takes_any_name(init):
                return


def _check_value(name: str, value: Any, hint: Any) -> None:
    if not _fits_int64(value):
        raise UserError(f"{name}={value}: integers are limited to 64 bits")
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        return
    try:
        converted = adapter.validate_python(value)
    except ValidationError as error:
        reasons = ", or ".join(dict.fromkeys(each["msg"] for each in error.errors()))
        raise UserError(f"{name}={value}: {reasons.replace('Input', 'it')}") from error
    if not _is_same_type(converted, value):
        raise UserError(f"{name}={value}: write {name}={converted}")


def _fits_int64(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_fits_int64, value))
    return type(value) is not int or -(2**63) <= value < 2**63


def _is_same_type(converted: Any, value: Any) -> bool:
    """True if validation did not convert the value; an integer is accepted as a float."""
    if isinstance(value, list):
        return all(map(_is_same_type, converted, value))
    return type(converted) is type(value) or (type(converted), type(value)) == (float, int)
