"""Figures in the run folder and in the loggers."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only

from vaelab.data.base import DataModule
from vaelab.figures.run_figures import (
    GRIDS,
    FigureInputs,
    check_figure_names,
    draw_all_figures,
    draw_figures,
)
from vaelab.loggers.base import MediaLogger, open_png
from vaelab.module import VAEModule
from vaelab.runs.run import Run


class Pictures(Callback):
    """Reconstructions and samples every `every` epochs, all figures at the end.

    Arguments:
        folder: Of the run; the figures go to <folder>/figures.
        every: Epochs between two drawings.
        only: Names of the figures at the end; null is all that have a meaning.
    """

    def __init__(self, folder: str, every: int = 5, only: Sequence[str] | None = None):
        if every < 1:
            raise ValueError(f"callbacks.pictures.every={every}: it counts epochs, at least 1")
        check_figure_names(only or ())
        self.folder = Path(folder)
        self.every = every
        self.only = only

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_now_and_then(trainer, pl_module)  # while averaged weights are in place

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.datamodule.has_validation:  # type: ignore[attr-defined]
            self._draw_now_and_then(trainer, pl_module)

    @rank_zero_only
    def _draw_now_and_then(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every != 0:
            return
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        scene = FigureInputs(cast(VAEModule, pl_module).vae, data, self.folder)
        paths, _ = draw_figures(scene, GRIDS)
        for logger in trainer.loggers:
            if isinstance(logger, MediaLogger):
                for name, path in paths.items():
                    logger.add_image(f"figures/{name}", open_png(path), trainer.global_step)

    @rank_zero_only
    def finish(self, run: Run) -> None:
        """Draw the figures of a run whose numbers are known and whose best weights are loaded."""
        draw_all_figures(run, self.folder, self.only)
