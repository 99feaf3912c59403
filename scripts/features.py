"""Train a net that images are compared by: `python scripts/features.py digits` or `clothes`.

It learns the classes of the 60,000 training images of MNIST or FashionMNIST, which are read from
VAELAB_DATA: digits turned, scaled and shifted a little, clothes mirrored, and every other picture
as bits, so that its features serve for both. How often it is right on the test images goes into the
file too.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample
from tqdm import tqdm

from vaelab import features
from vaelab.cli import entry_point
from vaelab.data.base import DataModule
from vaelab.data.fashion_mnist import FashionMNIST
from vaelab.data.mnist import MNIST
from vaelab.features.classifier import Classifier

SOURCES = {"digits": MNIST, "clothes": FashionMNIST}
TURN, SCALE, SHIFT = math.radians(10), 0.1, 2 / 14  # at most; of half a picture's edge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SOURCES)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(features.__path__[0]))
    asked = parser.parse_args()
    source, root = SOURCES[asked.name], os.environ.get("VAELAB_DATA", "data")
    grey, bits = (
        source(root, validation=0, binarize=binarize, batch_size=250, seed=asked.seed)
        for binarize in ("none", "dynamic")
    )
    for data in (grey, bits):
        data.prepare_data()
        data.setup()
    started, started_cpu = time.perf_counter(), time.process_time()
    net = trained(grey, asked.epochs, asked.seed, moved if asked.name == "digits" else mirrored)
    recipe = {
        "command": f"python scripts/features.py {asked.name}",
        "epochs": asked.epochs,
        "seed": asked.seed,
        "seconds": round(time.perf_counter() - started),
        "cpu_seconds": round(time.process_time() - started_cpu),
        "date": date.today(),
        "torch": torch.__version__,
        "accuracy_grey": accuracy(net, grey),
        "accuracy_bits": accuracy(net, bits),
    }
    path = asked.out / f"{asked.name}.safetensors"
    weights = {key: weight.contiguous() for key, weight in net.state_dict().items()}
    save_file(weights, path, {key: str(value) for key, value in recipe.items()})
    print(*(f"{key}: {value}" for key, value in recipe.items()), path, sep="\n")


def trained(
    data: DataModule, epochs: int, seed: int, varied: Callable[[Tensor], Tensor]
) -> Classifier:
    """A net after so many epochs of the training images, each time varied anew."""
    torch.manual_seed(seed)
    net = Classifier().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = data.train_dataloader()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, epochs * len(batches))
    for epoch in tqdm(range(epochs), "epochs", disable=None):
        batches.set_epoch(epoch)
        for x, y in batches:
            x = half_bits(varied(data.prepare(x)))
            with torch.autocast("cpu", torch.bfloat16):
                logits = net.logits(x)
            loss = cross_entropy(logits.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def moved(x: Tensor) -> Tensor:
    """Pictures (B, 1, H, W), each turned, scaled and shifted by chance."""
    turn, scale, across, down = torch.rand(4, len(x)).mul(2).sub(1)
    turn, scale = TURN * turn, 1 + SCALE * scale
    cos, sin = scale * turn.cos(), scale * turn.sin()
    rows = [cos, -sin, SHIFT * across], [sin, cos, SHIFT * down]
    maps = torch.stack([torch.stack(row, -1) for row in rows], 1)
    return grid_sample(x, affine_grid(maps, list(x.shape), False), align_corners=False)


def mirrored(x: Tensor) -> Tensor:
    """Pictures (B, 1, H, W), each left and right exchanged or not."""
    return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


def half_bits(x: Tensor) -> Tensor:
    """Every other picture with its pixels drawn as bits."""
    x[::2] = x[::2].clamp(0, 1).bernoulli()
    return x


@torch.no_grad()
def accuracy(net: Classifier, data: DataModule) -> float:
    """The part of the test images whose class it names."""
    right = [net.logits(data.prepare(x)).argmax(1) == y for x, y in data.batches("test")]
    return torch.cat(right).float().mean().item()


if __name__ == "__main__":
    entry_point.run_command(main)
