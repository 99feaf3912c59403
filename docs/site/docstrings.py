"""Escape * and < in docstrings, which are plain text with formulas and not Markdown."""

import re

import griffe

CODE = r"`[^`]*`|(?<=\n\n)(?: {4}.*\n?)+"  # in backticks, or an indented block
SIGN = re.compile(rf"({CODE})|[*<]")


class EscapeFormulas(griffe.Extension):
    """Escape the signs outside code in every docstring that griffe reads."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring:
            obj.docstring.value = SIGN.sub(_escape, obj.docstring.value)


def _escape(match: re.Match[str]) -> str:
    return match[1] or {"*": "\\*", "<": "&lt;"}[match[0]]
