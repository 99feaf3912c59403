"""Contracts of loggers that do more than log numbers. Other loggers of Lightning work too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image


class MediaLogger:
    """A logger of images, histograms, tables or models.

    Subclasses override what they support. Only the first process calls these methods.
    """

    def add_image(self, name: str, image: Image.Image, step: int) -> None:
        """Log an image, which replaces the last image of this name."""

    def add_histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """Log the distribution of finite values, and each value by its index."""

    def add_table(self, name: str, rows: list[dict[str, Any]], step: int) -> None:
        """Log rows with the same columns, which hold numbers, words and images."""

    def add_model(self, folder: Path, numbers: Mapping[str, Any]) -> None:
        """Log the best weights of a run folder, with everything needed to open them."""


class ResumableLogger:
    """A logger that appends to its own record when a run is resumed."""

    def resume_from(self, step: int) -> None:
        """Prepare to resume after optimizer step `step`, before anything is logged.

        Entries of `step` and later steps will be logged again.
        """


class RunTracker:
    """A logger of a run in a tracking service, to which later commands can append.

    Only the first process starts or joins a run.
    """

    def join(self, run_folder: Path) -> None:
        """Prepare to append to the tracked run of a run folder, which may be untrusted.

        If it has none, a new one is started, named after this folder and that of the logger.
        """
        raise NotImplementedError

    def close(self, failed: bool = False) -> None:
        """End the tracked run, if it was started, so that the next job starts its own.

        Arguments:
            failed: True to mark the run as failed.
        """
        raise NotImplementedError


def open_png(path: Path) -> Image.Image:
    """Read a PNG file into memory, as RGB."""
    with Image.open(path, formats=("PNG",)) as file:
        return file.convert("RGB")
