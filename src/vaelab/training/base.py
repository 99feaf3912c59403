"""What the training loop and the NaN guard need of the module that they train."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from pytorch_lightning import LightningModule
from torch import Tensor

Batch = Sequence[Tensor]  # images (B, *shape) and labels (B, ...)


class TrainableModule(LightningModule):
    """A LightningModule whose loss consists of named terms.

    Attributes:
        vae: The model that is trained, an nn.Module.
    """

    vae: Any

    @abstractmethod
    def terms(self, batch: Batch, step: int | None = None) -> dict[str, Tensor]:
        """Compute the named terms of a batch, each (B,) or (); `loss` is the one to minimise.

        Arguments:
            step: The number of optimizer steps taken; None is that of the trainer.
        """
