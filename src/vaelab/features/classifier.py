"""Small classifiers of digits and of clothes: `features=digits` and `features=clothes`.

scripts/features.py trained them on grayscale and on binarized images. The safetensors files beside
this module hold their weights and, as metadata, their provenance: command, seed, accuracy, ...
"""

from pathlib import Path
from typing import Self

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.transforms.functional import center_crop

from vaelab.features.base import Features

IMAGE_SIZE = 28  # height and width of the training images, in pixels


class Classifier(Features):
    """A classifier with four convolutions, whose mean over the image gives 64 features.

    A linear layer computes the logits of 10 classes from the features.

    Color images are averaged to grayscale. Images that are larger than 28x28 by an even number of
    pixels are cropped at the center, which removes the border of padded images; images of other
    sizes are resized.
    """

    num_features = 64

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *_conv_block(1, 32, kernel=5, stride=2),
            *_conv_block(32, 64, stride=2),
            *_conv_block(64, 64),
            *_conv_block(64, self.num_features),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(self.num_features, 10)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return a classifier with the weights of a safetensors file, frozen and in eval mode."""
        net = cls()
        net.load_state_dict(load_file(path))
        return net.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(_resize_to_grayscale(x))

    def logits(self, x: Tensor) -> Tensor:
        """Compute the logits of the 10 classes, (B, 10)."""
        return self.head(self(x))


def _conv_block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """Return a convolution, batch normalization and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def _resize_to_grayscale(x: Tensor) -> Tensor:
    """Convert images (B, C, H, W) to grayscale images (B, 1, 28, 28)."""
    x = x.mean(1, keepdim=True)
    if all(edge >= IMAGE_SIZE and (edge - IMAGE_SIZE) % 2 == 0 for edge in x.shape[2:]):
        return center_crop(x, [IMAGE_SIZE, IMAGE_SIZE])
    return interpolate(x, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True)
