"""Train a feature network: `python scripts/features.py digits`, `clothes` or `objects`.

The network is a classifier of training images that are read from VAELAB_DATA: the 60,000 of MNIST
or FashionMNIST, or the 50,000 of CIFAR-10 as JPEG files, cifar10_jpg/{train,test}/<class>/*.jpg.
Digits are rotated, scaled and shifted a little, clothes are mirrored at random, and objects are
mirrored and shifted. Half of the digits or clothes of each batch are binarized and a quarter of the
objects are made grayscale, so that the features suit these images as well. The recipe and the
accuracy on the test images are saved as metadata of the weights file. The weights of objects are
rounded to half precision before the accuracy is computed.
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
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, pad
from tqdm import tqdm

from vaelab import features
from vaelab.cli import entry_point
from vaelab.data.base import Binarize, DataModule
from vaelab.data.fashion_mnist import FashionMNIST
from vaelab.data.image_folder import ImageFolder
from vaelab.data.mnist import MNIST
from vaelab.features.classifier import CLASSIFIERS, Classifier

MAX_ROTATION = math.radians(10)
MAX_SCALING = 0.1
MAX_SHIFT = 2 / 14  # 2 pixels, as a fraction of half the width of an image
MAX_SHIFT_OF_OBJECTS = 4  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CLASSIFIERS)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(features.__path__[0]))
    arguments = parser.parse_args()
    name, seed = arguments.name, arguments.seed
    data = load_images(name, "none", seed)
    start, cpu_start = time.perf_counter(), time.process_time()
    net = train_classifier(CLASSIFIERS[name], data, arguments.epochs, seed, AUGMENTATIONS[name])
    recipe = {
        "command": f"python scripts/features.py {name}",
        "epochs": arguments.epochs,
        "seed": seed,
        "seconds": round(time.perf_counter() - start),
        "cpu_seconds": round(time.process_time() - cpu_start),
        "date": date.today(),
        "torch": torch.__version__,
    }
    if name == "objects":
        net.half().float()
        recipe["data"] = "50,000 training images of CIFAR-10 (Krizhevsky, 2009) as JPEG files"
        recipe["accuracy_color"] = compute_accuracy(net, data)
        recipe["accuracy_grey"] = compute_accuracy(net, data, grayscale=True)
        net.half()
    else:
        recipe["accuracy_grey"] = compute_accuracy(net, data)
        recipe["accuracy_bits"] = compute_accuracy(net, load_images(name, "dynamic", seed))
    path = arguments.out / f"{name}.safetensors"
    weights = {key: weight.contiguous() for key, weight in net.state_dict().items()}
    save_file(weights, path, {key: str(value) for key, value in recipe.items()})
    print(*(f"{key}: {value}" for key, value in recipe.items()), path, sep="\n")


def load_images(name: str, binarize: Binarize, seed: int) -> DataModule:
    """Load the images of a network, without any for validation."""
    root = os.environ.get("VAELAB_DATA", "data")
    settings = {"validation": 0, "binarize": binarize, "batch_size": 250, "seed": seed}
    if name == "objects":
        data: DataModule = ImageFolder(f"{root}/cifar10_jpg", (3, 32, 32), **settings)
    else:
        data = {"digits": MNIST, "clothes": FashionMNIST}[name](root, **settings)
    data.prepare_data()
    data.setup()
    return data


def train_classifier(
    kind: type[Classifier],
    data: DataModule,
    epochs: int,
    seed: int,
    augment: Callable[[Tensor], Tensor],
) -> Classifier:
    """Train a classifier on the training images.

    Arguments:
        augment: Transforms a batch of images (B, C, H, W) at random, differently in every epoch.
    """
    torch.manual_seed(seed)
    net = kind().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = data.train_dataloader()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, epochs * len(batches))
    for epoch in tqdm(range(epochs), "epochs", disable=None):
        batches.set_epoch(epoch)
        for x, y in batches:
            x = augment(data.prepare(x))
            with torch.autocast("cpu", torch.bfloat16):
                logits = net.logits(x)
            loss = cross_entropy(logits.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def augment_digits(x: Tensor) -> Tensor:
    """Rotate, scale and shift each of the images (B, 1, H, W) at random, and binarize half."""
    rotation, scale, shift_x, shift_y = torch.rand(4, len(x)).mul(2).sub(1)
    rotation, scale = MAX_ROTATION * rotation, 1 + MAX_SCALING * scale
    cos, sin = scale * rotation.cos(), scale * rotation.sin()
    rows = [cos, -sin, MAX_SHIFT * shift_x], [sin, cos, MAX_SHIFT * shift_y]
    matrices = torch.stack([torch.stack(row, -1) for row in rows], 1)
    grid = affine_grid(matrices, list(x.shape), False)
    return binarize_half(grid_sample(x, grid, align_corners=False))


def augment_clothes(x: Tensor) -> Tensor:
    """Mirror each of the images (B, 1, H, W) at random, and binarize half of them."""
    return binarize_half(mirror_randomly(x))


def augment_objects(x: Tensor) -> Tensor:
    """Mirror and shift each of the images (B, 3, H, W) at random, and make a quarter grayscale."""
    height, width = x.shape[2:]
    top, left = torch.randint(2 * MAX_SHIFT_OF_OBJECTS + 1, (2, len(x), 1))
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    padded = pad(mirror_randomly(x), [MAX_SHIFT_OF_OBJECTS] * 4, "reflect").movedim(1, -1)
    image = torch.arange(len(x))[:, None, None]
    x = padded[image, rows[:, :, None], columns[:, None]].movedim(-1, 1)
    x[::4] = x[::4].mean(1, keepdim=True)
    return x


def mirror_randomly(x: Tensor) -> Tensor:
    """Mirror each of the images (B, C, H, W) horizontally with probability 1/2."""
    return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


def binarize_half(x: Tensor) -> Tensor:
    """Binarize every other image, in place; pixels are the probabilities of a 1."""
    x[::2] = x[::2].clamp(0, 1).bernoulli()
    return x


@torch.no_grad()
def compute_accuracy(net: Classifier, data: DataModule, grayscale: bool = False) -> float:
    """Compute the fraction of the test images that are classified correctly.

    Arguments:
        grayscale: Average the channels of each image first.
    """
    is_correct = []
    for x, y, _ in data.batches("test"):
        x = data.prepare(x)
        logits = net.logits(x.mean(1, keepdim=True) if grayscale else x)
        is_correct.append(logits.argmax(1) == y)
    return torch.cat(is_correct).float().mean().item()


AUGMENTATIONS = {"digits": augment_digits, "clothes": augment_clothes, "objects": augment_objects}

if __name__ == "__main__":
    entry_point.run_command(main)
