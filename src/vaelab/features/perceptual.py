"""A perceptual distance of two images: LPIPS, or the same distance with a built-in classifier.

Reference: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al.,
2018), equation 1, arXiv:1801.03924
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.features.classifier import CLASSIFIERS, Classifier
from vaelab.features.named import WEIGHTS_FOLDER
from vaelab.runtime.errors import MissingFileError, UserError

LPIPS = "lpips"
NETWORKS = (LPIPS, *CLASSIFIERS)
EPSILON = 1e-2  # of a squared length: positions without features have no direction


class PerceptualDistance(nn.Module):
    """The distance d(x, y) between images, 0 for equal ones.

    With a classifier, d is the mean over its hidden layers and over positions of
    |f(x) / |f(x)| - f(y) / |f(y)||^2, with the channels f of a position after the ReLU. LPIPS also
    has learned weights for the channels. The networks are frozen.

    Attributes:
        description: The network, in words.
    """

    description: str

    def train(self, mode: bool = True) -> "PerceptualDistance":
        """Keep the statistics of the batch normalization: the networks stay in eval mode."""
        return super().train(False)


class ClassifierDistance(PerceptualDistance):
    """The distance between the hidden layers of a classifier of this folder, by its name."""

    def __init__(self, name: str):
        super().__init__()
        self.network: Classifier = CLASSIFIERS[name].load(WEIGHTS_FOLDER / f"{name}.safetensors")
        size = self.network.image_size
        self.description = f"the built-in classifier of {name}, at {size}x{size} pixels"

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute the distances (B,) of images x and y (B, 1 or 3, H, W) in [0, 1]."""
        h = torch.cat([self.network.convert(x), self.network.convert(y)])
        distances = []
        for layer in self.network.layers:
            if isinstance(layer, nn.AdaptiveAvgPool2d):
                break
            h = layer(h)
            if isinstance(layer, nn.ReLU):
                directions = h * (h.square().sum(1, keepdim=True) + EPSILON).rsqrt()
                first, second = directions.chunk(2)
                distances.append((first - second).square().sum(1).mean((1, 2)))
        return torch.stack(distances).mean(0)


class LPIPSDistance(PerceptualDistance):
    """The distance of the package lpips, with the features of VGG16.

    Raises:
        MissingFileError: If the package or the weights of VGG16 are missing.
    """

    description = "LPIPS with VGG16"

    def __init__(self):
        super().__init__()
        if not has_lpips():
            raise MissingFileError(
                "objective.network=lpips needs the package lpips and the weights of VGG16 at "
                f"{find_vgg_weights()}: pip install lpips, and run python -c 'import torchvision; "
                'torchvision.models.vgg16(weights="IMAGENET1K_V1")\', or set objective.network=auto'
            )
        lpips: Any = import_module(LPIPS)
        self.network: Any = lpips.LPIPS(net="vgg", verbose=False).requires_grad_(False).eval()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute the distances (B,) of images x and y (B, 1 or 3, H, W) in [0, 1]."""
        first, second = (2 * each.expand(-1, 3, -1, -1) - 1 for each in (x, y))
        return self.network(first, second).flatten(1).mean(1)


def load_perceptual_distance(name: str) -> PerceptualDistance:
    """Return the distance of the network of this name, one of NETWORKS.

    Raises:
        UserError: If there is no network of this name.
        MissingFileError: If lpips or its weights are missing.
    """
    if name not in NETWORKS:
        raise UserError(f"objective.network={name}: choose from auto, {', '.join(NETWORKS)}")
    return LPIPSDistance() if name == LPIPS else ClassifierDistance(name)


def has_lpips() -> bool:
    """Return True if the package lpips and the weights of VGG16 are on this machine."""
    return find_spec(LPIPS) is not None and find_vgg_weights().is_file()


def find_vgg_weights() -> Path:
    """Return the path at which torchvision keeps the weights of VGG16."""
    from torchvision.models import VGG16_Weights

    name = VGG16_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    return Path(torch.hub.get_dir(), "checkpoints", name)
