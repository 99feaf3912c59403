"""TensorBoard event files in the run folder: `logger=tensorboard`."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from torchvision.transforms.functional import to_tensor

from vaelab.loggers.base import MediaLogger, ResumableLogger
from vaelab.runtime.private_api import set_tensorboard_option


class TensorBoard(TensorBoardLogger, MediaLogger, ResumableLogger):
    """Lightning's TensorBoard logger, writing to <folder>/tensorboard, with images and histograms.

    Arguments:
        folder: The run folder.
    """

    def __init__(self, folder: str):
        super().__init__(folder, name="tensorboard", version="")

    def resume_from(self, step: int) -> None:
        set_tensorboard_option(self, "purge_step", step)

    def add_image(self, name: str, image: Image.Image, step: int) -> None:
        self.experiment.add_image(name, to_tensor(image.convert("RGB")), step)

    def add_histogram(self, name: str, values: Sequence[float], step: int) -> None:
        self.experiment.add_histogram(name, np.array(values), step)
