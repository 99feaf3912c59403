"""Train a feature network: `python scripts/features.py digits` or `clothes`.

The network is a classifier of the 60,000 training images of MNIST or FashionMNIST, which are read
from VAELAB_DATA. Digits are rotated, scaled and shifted a little, and clothes are mirrored at
random. Half of the images of each batch are binarized, so that the features suit grayscale and
binarized images. The recipe and the accuracy on the test images are saved as metadata of the
weights file.
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
MAX_ROTATION = math.radians(10)
MAX_SCALING = 0.1
MAX_SHIFT = 2 / 14  # 2 pixels, as a fraction of half the width of an image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SOURCES)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(features.__path__[0]))
    arguments = parser.parse_args()
    source, root = SOURCES[arguments.name], os.environ.get("VAELAB_DATA", "data")
    grayscale, binarized = (
        source(root, validation=0, binarize=binarize, batch_size=250, seed=arguments.seed)
        for binarize in ("none", "dynamic")
    )
    for data in (grayscale, binarized):
        data.prepare_data()
        data.setup()
    start, cpu_start = time.perf_counter(), time.process_time()
    augment = transform_randomly if arguments.name == "digits" else mirror_randomly
    net = train_classifier(grayscale, arguments.epochs, arguments.seed, augment)
    recipe = {
        "command": f"python scripts/features.py {arguments.name}",
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "seconds": round(time.perf_counter() - start),
        "cpu_seconds": round(time.process_time() - cpu_start),
        "date": date.today(),
        "torch": torch.__version__,
        "accuracy_grey": compute_accuracy(net, grayscale),
        "accuracy_bits": compute_accuracy(net, binarized),
    }
    path = arguments.out / f"{arguments.name}.safetensors"
    weights = {key: weight.contiguous() for key, weight in net.state_dict().items()}
    save_file(weights, path, {key: str(value) for key, value in recipe.items()})
    print(*(f"{key}: {value}" for key, value in recipe.items()), path, sep="\n")


def train_classifier(
    data: DataModule, epochs: int, seed: int, augment: Callable[[Tensor], Tensor]
) -> Classifier:
    """Train a classifier on the training images.

    Arguments:
        augment: Transforms a batch of images (B, 1, H, W) at random, differently in every epoch.
    """
    torch.manual_seed(seed)
    net = Classifier().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = data.train_dataloader()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, epochs * len(batches))
    for epoch in tqdm(range(epochs), "epochs", disable=None):
        batches.set_epoch(epoch)
        for x, y in batches:
            x = binarize_half(augment(data.prepare(x)))
            with torch.autocast("cpu", torch.bfloat16):
                logits = net.logits(x)
            loss = cross_entropy(logits.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def transform_randomly(x: Tensor) -> Tensor:
    """Rotate, scale and shift each of the images (B, 1, H, W) at random."""
    rotation, scale, shift_x, shift_y = torch.rand(4, len(x)).mul(2).sub(1)
    rotation, scale = MAX_ROTATION * rotation, 1 + MAX_SCALING * scale
    cos, sin = scale * rotation.cos(), scale * rotation.sin()
    rows = [cos, -sin, MAX_SHIFT * shift_x], [sin, cos, MAX_SHIFT * shift_y]
    matrices = torch.stack([torch.stack(row, -1) for row in rows], 1)
    return grid_sample(x, affine_grid(matrices, list(x.shape), False), align_corners=False)


def mirror_randomly(x: Tensor) -> Tensor:
    """Mirror each of the images (B, 1, H, W) horizontally with probability 1/2."""
    return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


def binarize_half(x: Tensor) -> Tensor:
    """Binarize every other image, in place; pixels are the probabilities of a 1."""
    x[::2] = x[::2].clamp(0, 1).bernoulli()
    return x


@torch.no_grad()
def compute_accuracy(net: Classifier, data: DataModule) -> float:
    """Compute the fraction of the test images that are classified correctly."""
    is_correct = [net.logits(data.prepare(x)).argmax(1) == y for x, y, _ in data.batches("test")]
    return torch.cat(is_correct).float().mean().item()


if __name__ == "__main__":
    entry_point.run_command(main)
