"""The contracts of loggers that can do more than take numbers; others are left alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image


class MediaLogger:
    """What a run has to show; a logger takes what it can. Only the first process calls it."""

    def add_image(self, name: str, picture: Image.Image, step: int) -> None:
        """A picture, in the place of the last one of this name."""

    def add_histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """How finite values are distributed, and each by its number."""

    def add_table(self, name: str, rows: list[dict[str, Any]], step: int) -> None:
        """Rows of the same columns, of numbers, words and pictures."""

    def add_model(self, folder: Path, numbers: dict[str, Any]) -> None:
        """The best weights of a run folder, with all that is needed to open them."""


class ResumableLogger:
    """A logger that goes on with the record of a run that was stopped."""

    def resume_from(self, step: int) -> None:
        """Called before anything is logged: what there is of `step` and later comes again."""


def open_png(path: Path) -> Image.Image:
    """A picture file, read whole."""
    with Image.open(path, formats=("PNG",)) as file:
        return file.convert("RGB")
