"""TensorBoard event files in the run folder: `logger=tensorboard`."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from torchvision.transforms.functional import to_tensor

from vaelab.loggers.base import Media, Resumable


class TensorBoard(TensorBoardLogger, Media, Resumable):
    """Lightning's, in <folder>/tensorboard, with pictures and histograms."""

    def __init__(self, folder: str):
        super().__init__(folder, name="tensorboard", version="")

    def go_on(self, step: int) -> None:
        self._kwargs["purge_step"] = step

    def picture(self, name: str, picture: Image.Image, step: int) -> None:
        self.experiment.add_image(name, to_tensor(picture.convert("RGB")), step)

    def histogram(self, name: str, values: Sequence[float], step: int) -> None:
        self.experiment.add_histogram(name, np.array(values), step)
