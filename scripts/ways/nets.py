"""The models of the benchmark in plain PyTorch."""

import os
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.datasets import MNIST

LATENT = 20


def digits(batches: int = 469) -> Tensor:
    """Return the first 128 * batches training images of MNIST, uint8 (*, 1, 28, 28)."""
    return MNIST(os.environ["VAELAB_DATA"], train=True).data[: 128 * batches, None]


def mlp(hidden: tuple[int, ...] = (400,), latent: int = LATENT) -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder 784-hidden-latent."""

    def layers(*sizes: int) -> list[nn.Module]:
        pairs = [[nn.Linear(a, b), nn.ReLU()] for a, b in pairwise(sizes)]
        return [layer for pair in pairs for layer in pair][:-1]

    encoder = nn.Sequential(nn.Flatten(), *layers(784, *hidden, 2 * latent))
    decoder = nn.Sequential(*layers(latent, *reversed(hidden), 784), nn.Unflatten(1, (1, 28, 28)))
    return encoder, decoder


def conv() -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder with 32, 64 and 128 channels at 14, 7 and 3 pixels."""
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(64, 128, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128 * 9, 2 * LATENT),
    )
    decoder = nn.Sequential(
        nn.Linear(LATENT, 128 * 9),
        nn.Unflatten(1, (128, 3, 3)),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1),
    )
    return encoder, decoder


NETS = {"mlp": mlp, "conv": conv}


class PlainVAE(nn.Module):
    """A VAE whose forward pass returns the mean negative ELBO of images x (B, 1, 28, 28)."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).float().chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        logits = self.decoder(z).float()
        reconstruction = binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())
        return (reconstruction + kl) / len(x)
