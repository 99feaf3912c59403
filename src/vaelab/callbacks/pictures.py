"""Draws figures during and after the training."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only

from vaelab.data.base import DataModule
from vaelab.figures.run_figures import (
    GRID_FIGURES,
    FigureInputs,
    check_figure_names,
    draw_all_figures,
    draw_figures,
)
from vaelab.loggers.base import MediaLogger, open_png
from vaelab.module import VAEModule
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import UserError


class Pictures(Callback):
    """Draws reconstructions and samples every `every` epochs, and all figures at the end.

    Those of tables are drawn at the end only, since an epoch may take less time than a figure.

    Arguments:
        folder: The run folder; the figures are written to <folder>/figures.
        every: The number of epochs between two drawings.
        only: The names of the figures at the end; None draws all that apply.

    Raises:
        UserError: If `every` is less than 1, or there is no figure of a name.
    """

    def __init__(self, folder: str, every: int = 5, only: Sequence[str] | None = None):
        if every < 1:
            raise UserError(
                f"callbacks.pictures.every={every}: it is a number of epochs, at least 1"
            )
        check_figure_names(only or ())
        self.folder = Path(folder)
        self.every = every
        self.only = only

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._draw_if_due(trainer, pl_module)  # while averaged weights are in use

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.datamodule.has_validation:  # type: ignore[attr-defined]
            self._draw_if_due(trainer, pl_module)

    @rank_zero_only
    def _draw_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every != 0:
            return
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        if len(data.shape) == 1:
            return
        scene = FigureInputs(cast(VAEModule, pl_module).vae, data, self.folder)
        paths, _ = draw_figures(scene, GRID_FIGURES)
        for logger in trainer.loggers:
            if isinstance(logger, MediaLogger):
                for name, path in paths.items():
                    logger.add_image(f"figures/{name}", open_png(path), trainer.global_step)

    @rank_zero_only
    def finish(self, run: RunParts) -> None:
        """Draw the final figures of a run whose best weights are loaded."""
        draw_all_figures(run, self.folder, self.only)
