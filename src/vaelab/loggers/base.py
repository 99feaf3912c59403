"""The contracts of loggers that can do more than take numbers; others are left alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image


class Media:
    """What a run has to show; a logger takes what it can. Only the first process calls it."""

    def picture(self, name: str, picture: Image.Image, step: int) -> None:
        """A picture, in the place of the last one of this name."""

    def histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """How finite values are distributed, and each by its number."""

    def table(self, name: str, rows: list[dict[str, Any]], step: int) -> None:
        """Rows of the same columns, of numbers, words and pictures."""

    def model(self, folder: Path, numbers: dict[str, Any]) -> None:
        """The best weights of a run folder, with all that is needed to open them."""


class Resumable:
    """A logger that goes on with the record of a run that was stopped."""

    def go_on(self, step: int) -> None:
        """Called before anything is logged: what there is of `step` and later comes again."""


def opened(path: Path) -> Image.Image:
    """A picture file, read whole."""
    with Image.open(path, formats=("PNG",)) as file:
        return file.convert("RGB")
