"""Docstrings are plain text: their * and < are signs of a formula, not of Markdown."""

import re

import griffe

CODE = r"`[^`]*`|(?<=\n\n)(?: {4}.*\n?)+"  # in backticks, or a block of its own
SIGN = re.compile(rf"({CODE})|[*<]")


class Plain(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring:
            obj.docstring.value = SIGN.sub(_plain, obj.docstring.value)


def _plain(found: re.Match[str]) -> str:
    return found[1] or {"*": "\\*", "<": "&lt;"}[found[0]]
