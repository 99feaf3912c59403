"""Train with stock Lightning, on tensors in memory or on torchvision and a DataLoader."""

import argparse
import tempfile

import torch
from nets import NETS, PlainVAE, digits
from pytorch_lightning import LightningModule, Trainer
from report import Clock
from torch.utils.data import DataLoader

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("net", choices=NETS)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--batches", type=int, default=469)
parser.add_argument("--torchvision", action="store_true")
args = parser.parse_args()


class PlainModule(LightningModule):
    def __init__(self):
        super().__init__()
        self.vae = PlainVAE(*NETS[args.net]())

    def training_step(self, batch, batch_idx):
        loss = self.vae(batch[0])
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


class InMemory:
    """Iterates over batches of all images, in a new random order in each epoch."""

    def __init__(self):
        self.images = digits(args.batches)

    def __len__(self):
        return -(-len(self.images) // 128)

    def __iter__(self):
        for index in torch.randperm(len(self.images)).split(128):
            yield (self.images[index].float() / 255,)


def torchvision_loader() -> DataLoader:
    import os

    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    data = MNIST(os.environ["VAELAB_DATA"], train=True, transform=ToTensor())
    return DataLoader(data, batch_size=128, shuffle=True)


with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(
        max_epochs=args.epochs,
        default_root_dir=folder,
        enable_model_summary=False,
        callbacks=[Clock()],
    )
    trainer.fit(PlainModule(), torchvision_loader() if args.torchvision else InMemory())
