"""Words of the command line, in the syntax of Hydra's overrides.

Paths are taken literally: before Hydra parses a word whose key is in PATH_KEYS, its value is quoted
where Hydra's grammar would refuse or change it.
"""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vaelab.runtime.files import expand_home

RESUME = "resume="  # followed by the folder of a run or of a multirun
DATA_PATHS = ("root", "path", "cache")  # keys of data that may be relative paths
PATH_KEYS = (  # keys whose values are paths
    *(f"data.{key}" for key in DATA_PATHS),
    *("start", "out", "hydra.run.dir", "hydra.sweep.dir"),
)
SWEEP = re.compile(r"['\"]|(?:choice|glob|range|interval|shuffle|sort)\(")  # how a sweep may begin


def is_resume_command(words: Iterable[str]) -> bool:
    """True if the command line contains `resume=`."""
    return any(word.startswith(RESUME) for word in words)


def is_multirun_command(words: Iterable[str]) -> bool:
    """True if the command line asks Hydra for one run for each combination of values."""
    return any(word in ("-m", "--multirun", "hydra.mode=MULTIRUN") for word in words)


def quote_override(path: Path | str) -> str:
    """Quote a path as the value of an override, escaping what Hydra's grammar would interpret."""
    escaped = re.sub(r"(\\+)(?='|\Z)", r"\1\1", str(path)).replace("'", "\\'")
    return f"'{escaped}'"


def quote_for_shell(word: str) -> str:
    """Quote a word for a shell, in double quotes where it is easier to read."""
    if "'" in word and not re.search(r'["\\$`!]', word):
        return f'"{word}"'
    return shlex.quote(word)


def quote_paths(words: Sequence[str]) -> list[str]:
    """Return the words of a command, with paths written so that Hydra takes them literally.

    `~` becomes the home folder. In a multirun, `data.root=a,b` sweeps over two paths if one of them
    exists and there is no folder `a,b`. Paths that Hydra reads as typed stay as they are, and so do
    null, quoted values and sweeps in Hydra's syntax.
    """
    is_multirun = is_multirun_command(words)
    return [_quote_path_word(word, is_multirun) for word in words]


def sets_literal_path(word: str) -> bool:
    """True for an override that sets a path of the config, or several in a sweep, to plain text."""
    key, _, value = word.partition("=")
    if key not in PATH_KEYS or key.startswith("hydra.") or "${" in value:
        return False
    override = _parse_value(value)
    values = getattr(override.value(), "list", [override.value()]) if override else []
    texts = [getattr(each, "text", each) for each in values]
    return bool(texts) and all(isinstance(text, str) for text in texts)


def _quote_path_word(word: str, is_multirun: bool) -> str:
    key, _, value = word.partition("=")
    if word.startswith(RESUME):
        return RESUME + _read_path(value)
    if key.lstrip("+") not in PATH_KEYS or value in ("", "null"):
        return _quote_interpolation(word)
    if is_multirun and not key.startswith("hydra.") and not _exists(value):
        if SWEEP.match(value) and _is_sweep(value):
            return word
        if "," in value and any(map(_exists, value.split(","))):
            return f"{key}=" + ",".join(map(_write_path, value.split(",")))
    return f"{key}={_write_path(value)}"


def _quote_interpolation(word: str) -> str:
    """Quote a value that is one nested interpolation, which Hydra's grammar does not know."""
    key, _, value = word.partition("=")
    is_nested = value.startswith("${") and value.endswith("}") and "${" in value[2:]
    if not is_nested or _parse_value(value) is not None:
        return word
    return f"{key}={quote_override(value)}"


def _exists(path: str) -> bool:
    try:
        return expand_home(path).exists()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def _read_path(value: str) -> str:
    """Return the path that a value names: itself, or what is inside of Hydra's quotes."""
    is_quoted = value[:1] in ("'", '"') and not _exists(value)
    override = _parse_value(value) if is_quoted else None
    text = value if override is None or override.is_sweep_override() else override.value()
    text = text if isinstance(text, str) else value
    return os.path.expanduser(text)


def _write_path(value: str) -> str:
    """Return the value if Hydra reads it as the path that it names, else the path in quotes."""
    path, override = _read_path(value), _parse_value(value)
    if override is None or override.is_sweep_override() or override.value() != path:
        return quote_override(path)
    return value


def _is_sweep(value: str) -> bool:
    override = _parse_value(value)
    return override is not None and override.is_sweep_override()


def _parse_value(value: str) -> Any:
    """Parse a value as Hydra does; None if Hydra's grammar refuses it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(f"x={value}")
    except HydraException:
        return None
