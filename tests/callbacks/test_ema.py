"""Averages of buffers."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader

from vaelab.callbacks.ema import EMA


class Normalized(pl.LightningModule):
    """Batch normalization that is trained with a learning rate of zero."""

    def __init__(self):
        super().__init__()
        self.net = nn.BatchNorm1d(2)

    def training_step(self, x):
        return self.net(x).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class RunningMeans(Callback):
    """Records the running mean after each step."""

    def __init__(self):
        self.means = []

    def on_train_batch_end(self, trainer, module, *_):
        self.means.append(module.net.running_mean.clone())


def test_running_statistics_are_averaged_and_counts_are_copied(tmp_path):
    recorder, module = RunningMeans(), Normalized()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[recorder, EMA(decay=0.2)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    x = torch.arange(5.0)[:, None, None] + torch.tensor([[0.0], [1.0]]) * torch.ones(5, 2, 2)
    trainer.fit(module, DataLoader(x, batch_size=None))
    average = recorder.means[0]
    for step, mean in enumerate(recorder.means[1:], 1):
        keep = min(0.2, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * mean
    assert module.net.running_mean.tolist() == pytest.approx(average.tolist())
    assert not torch.equal(module.net.running_mean, recorder.means[-1])
    assert module.net.num_batches_tracked == 5
