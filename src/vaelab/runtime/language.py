"""The language of the menu, the report and the explorer: VAELAB_LANGUAGE=zh, or --language zh."""

import os
from argparse import ArgumentParser
from collections.abc import Callable, Mapping

from vaelab.runtime.errors import UserError

LANGUAGE_VARIABLE = "VAELAB_LANGUAGE"
LANGUAGES = ("en", "zh")

Translate = Callable[..., str]
"""Return the translation of an English text; keyword arguments fill its {fields}."""


def find_language() -> str:
    """Return the language that VAELAB_LANGUAGE selects, English by default.

    Raises:
        UserError: If there are no texts in this language.
    """
    language = os.environ.get(LANGUAGE_VARIABLE) or LANGUAGES[0]
    if language not in LANGUAGES:
        known = " or ".join(LANGUAGES)
        raise UserError(
            f"{LANGUAGE_VARIABLE}={language} is not a known language: set it to {known}"
        )
    return language


def add_language_option(parser: ArgumentParser) -> None:
    """Add --language to a command that writes or serves a page."""
    meaning = f"of the page; the default is {LANGUAGE_VARIABLE}, or {LANGUAGES[0]}"
    parser.add_argument("--language", choices=LANGUAGES, default=find_language(), help=meaning)


def make_translator(table: Mapping[str, str]) -> Translate:
    """Return the function that translates by a table; a text that it lacks stays English."""

    def translate(text: str, **values: object) -> str:
        found = table.get(text, text)
        return found.format(**values) if values else found

    return translate


TO_ENGLISH = make_translator({})
