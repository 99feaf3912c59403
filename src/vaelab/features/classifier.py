"""Small nets that tell digits from digits and clothes from clothes: `features=digits|clothes`.

scripts/features.py trained them on grey pixels and on bits alike; the files beside this one hold
their weights and, as metadata, how they came about.
"""

from pathlib import Path
from typing import Self

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.transforms.functional import center_crop

from vaelab.features.base import Features

EDGE = 28  # of the pictures it was trained on


class Classifier(Features):
    """Four convolutions and their mean over the picture: 64 features, of which 10 logits are made.

    Larger pictures lose an even border, which data sets of this size are padded with; others are
    resized, and colours become grey.
    """

    num_features = 64

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(1, 32, kernel=5, stride=2),
            *_convolution(32, 64, stride=2),
            *_convolution(64, 64),
            *_convolution(64, self.num_features),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(self.num_features, 10)

    @classmethod
    def load(cls, path: Path) -> Self:
        """With trained weights, for evaluation."""
        net = cls()
        net.load_state_dict(load_file(path))
        return net.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(_fitted(x))

    def logits(self, x: Tensor) -> Tensor:
        """Of the 10 classes, (B, 10)."""
        return self.head(self(x))


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def _fitted(x: Tensor) -> Tensor:
    """Pictures (B, C, H, W) as grey ones of 28x28."""
    x = x.mean(1, keepdim=True)
    if all(edge >= EDGE and (edge - EDGE) % 2 == 0 for edge in x.shape[2:]):
        return center_crop(x, [EDGE, EDGE])
    return interpolate(x, (EDGE, EDGE), mode="bilinear", antialias=True)
