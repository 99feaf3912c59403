"""Decides which words of a recorded command may be repeated: the record may be untrusted.

A word is judged by what Hydra's parser makes of it, because quotes and escapes hide a text from any
pattern: `start=$\\{oc.env:HOME\\}` becomes an interpolation.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString
from hydra.errors import HydraException

from vaelab.runs.untrusted import FOLDER_KEYS, MAX_DEPTH

MAX_WORD = 10_000  # characters
INTERPOLATION = re.compile(r"\$\\*\{")
INTERNAL_KEY = re.compile("_.*_")  # of Hydra, such as _target_
READS = re.compile(r"start|data\..*")  # keys whose values name what is only read


def is_safe_word(word: str) -> bool:
    """True for an override `key=value` of the menu that reads no environment and stays in its run.

    Refused are flags, settings of Hydra, packages (`key@package=`), classes, interpolations, and
    everything that names another folder to write to.
    """
    is_short = len(word) <= MAX_WORD and max(map(word.count, "[({")) <= MAX_DEPTH
    if not is_short or not word.isprintable() or word.startswith("-"):
        return False
    try:
        (override,) = OverridesParser.create().parse_overrides([word])
        values = [*_iterate_words(override)]
    except (HydraException, ValueError, RecursionError):
        return False
    keys = [*re.split("[./]", override.key_or_group), *(text for text, is_key in values if is_key)]
    texts = [text for text, is_key in values if not is_key]
    is_own = override.package is None and keys[0] != "hydra" and all(keys)
    leads_away = not READS.fullmatch(override.key_or_group) and any(map(_leads_away, texts))
    return (
        is_own
        and not leads_away
        and not any(key in FOLDER_KEYS or INTERNAL_KEY.fullmatch(key) for key in keys)
        and not any(INTERPOLATION.search(text) for text in texts)
    )


def describe_word(word: str) -> str:
    """Return a word for a message in one line, without characters that control the terminal."""
    shown = word if word.isprintable() else ascii(word)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."


def _iterate_words(override: Override) -> Iterator[tuple[str, bool]]:
    """Yield every text of a value, in lists, dicts and sweeps too, and whether it is a key."""
    value: Any = override.value()
    if isinstance(value, ChoiceSweep):
        value = value.list
    elif isinstance(value, Glob):
        value = [*value.include, *value.exclude]
    yield from _iterate_texts(value)


def _iterate_texts(value: Any) -> Iterator[tuple[str, bool]]:
    if isinstance(value, QuotedString | str):
        yield str(value.text if isinstance(value, QuotedString) else value), False
    elif isinstance(value, dict):
        for key, child in value.items():
            yield str(key.text if isinstance(key, QuotedString) else key), True
            yield from _iterate_texts(child)
    elif isinstance(value, list):
        for child in value:
            yield from _iterate_texts(child)


def _leads_away(text: str) -> bool:
    """True for a path out of the folder that it is relative to, on any system."""
    posix, windows = PurePosixPath(text), PureWindowsPath(text)
    is_rooted = text.startswith("~") or posix.is_absolute() or windows.drive or windows.root
    return bool(is_rooted) or ".." in windows.parts
