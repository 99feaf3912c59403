"""Reconstructions and prior samples in the run folder and in the loggers."""

from pathlib import Path
from typing import cast

import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only

from vaelab.data.base import DataModule
from vaelab.figures.grid import above_below, grid
from vaelab.loggers.base import Media
from vaelab.module import VAEModule
from vaelab.noise import Stream, noise
from vaelab.objectives.base import sample
from vaelab.vae import VAE

COLUMNS = 10


class Pictures(Callback):
    """Draws and logs every `every` epochs, and draws whenever it is told to; no tables.

    Arguments:
        folder: Where reconstructions.png and samples.png are written.
        every: Epochs between two pictures.
    """

    def __init__(self, folder: str, every: int = 5):
        if every < 1:
            raise ValueError(f"callbacks.pictures.every={every}: it counts epochs, at least 1")
        self.folder = Path(folder)
        self.every = every

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_now_and_then(trainer, pl_module)  # while averaged weights are in place

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.datamodule.validated:  # type: ignore[attr-defined]
            self._draw_now_and_then(trainer, pl_module)

    @rank_zero_only
    def _draw_now_and_then(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every != 0:
            return
        drawn = self.draw(trainer, cast(VAEModule, pl_module))
        for logger in trainer.loggers:
            if isinstance(logger, Media):
                for name, picture in drawn.items():
                    logger.picture(f"figures/{name}", picture, trainer.global_step)

    def draw(self, trainer: Trainer, module: VAEModule) -> dict[str, Image.Image]:
        """Write the pictures; called in the first process only."""
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        if len(data.shape) != 3 or data.shape[0] not in (1, 3):
            return {}
        self.folder.mkdir(parents=True, exist_ok=True)
        drawn = _pictures(module.vae, data)
        for name, picture in drawn.items():
            picture.save(self.folder / f"{name}.png")
        return drawn


@torch.no_grad()
def _pictures(vae: VAE, data: DataModule) -> dict[str, Image.Image]:
    device = next(vae.parameters()).device
    training = vae.training
    vae.eval()
    images, labels = data.splits["val" if data.validated else "test"]
    x = data.prepare(images[: 4 * COLUMNS].to(device))
    model = vae.given(labels[: 4 * COLUMNS].to(device))
    some = labels[torch.arange(10 * COLUMNS) % len(labels)].to(device)
    some = some.sort().values if some.ndim == 1 else some
    with noise(Stream.PICTURES):
        reconstruction = model.decode(model.encode(x).rsample()).mean
        model = vae.given(some)
        samples = model.decode(sample(model.latents(), len(some))).mean
    vae.train(training)
    return {
        "reconstructions": above_below(x, reconstruction, COLUMNS),
        "samples": grid(samples, COLUMNS),
    }
