"""Test that the convolutional models take series, images and volumes, of even and odd sizes."""

import math

import pytest
import torch
from torch import nn

from vaelab.data.base import DataModule
from vaelab.models import conv, ladder_conv, resnet, vq
from vaelab.module import VAEModule
from vaelab.runtime.build import build_from_config

SHAPES = [(2, 21), (1, 32), (1, 13, 18), (1, 7, 6, 9), (2, 8, 8, 8)]
GRID_SHAPES = [(2, 20), (1, 12, 16), (1, 4, 8, 12)]  # model=vq needs multiples of 4
SMALL = {
    "conv": ("model.channels=[4,6]", "latent_dim=3"),
    "resnet": ("model.channels=[4,6]", "model.blocks=1", "latent_dim=3"),
    "ladder_conv": ("model.channels=[4,6]",),
    "vq": ("model.channels=4", "model.residual=3", "model.dim=2", "posterior.codes=5"),
}
CASES = [
    (model, shape)
    for model in SMALL
    for shape in (GRID_SHAPES if model == "vq" else SHAPES)
]


@pytest.fixture
def build(config):
    """Build the module of a small model for data of a shape."""

    def build(model, shape, *words) -> VAEModule:
        torch.manual_seed(0)
        cfg = config(f"model={model}", *SMALL[model], "optimizer.lr=0.01", *words)
        return build_from_config(cfg.module, vae={"shape": list(shape)})

    return build
