import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader

from vaelab.callbacks.ema import EMA


class Normalized(pl.LightningModule):
    """Batch normalization with weights that stay as they are."""

    def __init__(self):
        super().__init__()
        self.net = nn.BatchNorm1d(2)

    def training_step(self, x):
        return self.net(x).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Means(Callback):
    """The running means after each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, *_):
        self.seen.append(module.net.running_mean.clone())


def test_running_statistics_are_averaged_like_weights_and_counts_are_taken(tmp_path):
    means, module = Means(), Normalized()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[means, EMA(decay=0.2)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    x = torch.arange(5.0)[:, None, None] + torch.tensor([[0.0], [1.0]]) * torch.ones(5, 2, 2)
    trainer.fit(module, DataLoader(x, batch_size=None))
    average = means.seen[0]
    for step, now in enumerate(means.seen[1:], 1):
        keep = min(0.2, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * now
    assert module.net.running_mean.tolist() == pytest.approx(average.tolist())
    assert not torch.equal(module.net.running_mean, means.seen[-1])
    assert module.net.num_batches_tracked == 5
