"""Small classifiers of digits, clothes and objects: `features=digits`, `clothes` and `objects`.

scripts/features.py trained them: digits and clothes on grayscale and on binarized images, objects
on color and on grayscale images. The safetensors files beside this module hold their weights and,
as metadata, their provenance: command, data, seed, accuracy, ...
"""

from abc import abstractmethod
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.transforms.functional import center_crop

from vaelab.features.base import Features


class Layer(NamedTuple):
    """A convolution, batch normalization and ReLU."""

    channels: int
    kernel: int = 3
    stride: int = 1


class Classifier(Features):
    """A classifier with some convolutions, whose mean over the image gives the features.

    A linear layer computes the logits of 10 classes from the features.

    Attributes:
        channels: The channels of the images that the first convolution takes.
        image_size: Height and width of the training images, in pixels.
        architecture: The convolutions.
    """

    channels: ClassVar[int]
    image_size: ClassVar[int]
    architecture: ClassVar[tuple[Layer, ...]]

    def __init__(self):
        super().__init__()
        self.num_features = self.architecture[-1].channels
        layers: list[nn.Module] = []
        for (inputs, *_), (outputs, kernel, stride) in pairwise(
            [Layer(self.channels), *self.architecture]
        ):
            padding = kernel // 2
            layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(self.num_features, 10)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return a classifier with the weights of a safetensors file, frozen and in eval mode.

        Weights that are stored in half precision become float32.
        """
        net = cls()
        net.load_state_dict(load_file(path))
        return net.eval().requires_grad_(False)

    @abstractmethod
    def convert(self, x: Tensor) -> Tensor:
        """Convert images (B, 1 or 3, H, W) to (B, channels, image_size, image_size)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.convert(x))

    def logits(self, x: Tensor) -> Tensor:
        """Compute the logits of the 10 classes, (B, 10)."""
        return self.head(self(x))


class GrayscaleClassifier(Classifier):
    """The classifier of digits and the one of clothes, with 64 features.

    Color images are averaged to grayscale. Images that are larger than 28x28 by an even number of
    pixels are cropped at the center, which removes the border of padded images; images of other
    sizes are resized.
    """

    channels = 1
    image_size = 28
    architecture = Layer(32, kernel=5, stride=2), Layer(64, stride=2), Layer(64), Layer(64)

    def convert(self, x: Tensor) -> Tensor:
        x = x.mean(1, keepdim=True)
        size = self.image_size
        if all(edge >= size and (edge - size) % 2 == 0 for edge in x.shape[2:]):
            return center_crop(x, [size, size])
        return _resize(x, size)


class ColorClassifier(Classifier):
    """The classifier of objects, with 128 features: of airplanes, cars, birds, cats, deer, ...

    Grayscale images are repeated in three channels. Images that are not 32x32 are resized.
    """

    channels = 3
    image_size = 32
    architecture = (
        Layer(64, kernel=5, stride=2),
        Layer(64),
        Layer(128, stride=2),
        Layer(128),
        Layer(128),
    )

    def convert(self, x: Tensor) -> Tensor:
        return _resize(x.expand(-1, self.channels, -1, -1), self.image_size)


CLASSIFIERS: dict[str, type[Classifier]] = {
    "clothes": GrayscaleClassifier,
    "digits": GrayscaleClassifier,
    "objects": ColorClassifier,
}


def _resize(x: Tensor, size: int) -> Tensor:
    """Resize images (B, C, H, W) to (B, C, size, size); images of this size stay as they are."""
    if x.shape[2:] == (size, size):
        return x
    return interpolate(x, (size, size), mode="bilinear", antialias=True)
