"""Generated series that look like electrocardiograms: `data=series`.

Reference: A Dynamical Model for Generating Synthetic Electrocardiogram Signals (McSharry et al.,
2003), IEEE Transactions on Biomedical Engineering 50(3), table I for the positions of the waves
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split, check_generated_sizes
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_noise

# The waves P, Q, R, S and T of a beat: the phase after R, the width and the height in each lead.
PHASES = (-math.pi / 3, -math.pi / 12, 0.0, math.pi / 12, math.pi / 2)
WIDTHS = (0.25, 0.1, 0.12, 0.1, 0.4)
HEIGHTS = ((0.15, -0.15, 1.0, -0.25, 0.35), (0.1, -0.05, 0.5, -0.5, 0.2))
P_WAVE, T_WAVE = 0, 4
REGULAR, INVERTED, IRREGULAR = range(3)
PERIODS = (40.0, 72.0)  # steps from beat to beat
IRREGULARITY = 0.25  # the largest relative change of a period


class Series(DataModule):
    """Heartbeats (N, leads, length), float32: Gaussian waves at the phases P, Q, R, S and T.

    A series starts at a random time of its first beat. Its period is uniform in PERIODS, and its
    amplitude in [0.8, 1.2]. The labels (N,) are the `classes`: of the irregular series every period
    differs by up to IRREGULARITY, and the P wave is missing.

    Arguments:
        shape: (leads, length) with one or two leads.
        train, validation, test: The number of series in each split.
        noise: The standard deviation of the normal noise that is added to each value.
        draw: The seed of the series; `seed` is the seed of their order in training.

    Raises:
        UserError: If an argument is out of range.
    """

    classes = ("regular", "inverted T wave", "irregular, no P wave")

    def __init__(
        self,
        shape: Sequence[int] = (2, 128),
        train: int = 6_000,
        validation: int = 500,
        test: int = 1_000,
        noise: float = 0.02,
        draw: int = 0,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_generated_sizes(train, validation, test, draw)
        if len(self.shape) != 2 or not 1 <= self.shape[0] <= len(HEIGHTS) or self.shape[1] < 1:
            raise UserError(
                f"data.shape={list(self.shape)}: data=series makes series [leads,length] with one "
                "or two leads; set a shape as in data.shape=[2,128]"
            )
        if not 0 <= noise < math.inf:
            raise UserError(f"data.noise={noise}: it must be a number of at least 0")
        self.noise, self.draw = noise, draw
        self.sizes = {"train": train, "val": validation, "test": test}

    def load(self) -> dict[str, Split]:
        return {name: self._make_split(i, n) for i, (name, n) in enumerate(self.sizes.items())}

    def _make_split(self, number: int, count: int) -> Split:
        """Make the series of split `number`, counted from 0."""
        leads, length = self.shape
        with seeded_noise(Stream.POINTS, self.draw, number):
            labels = torch.randint(len(self.classes), (count,))
            low, high = PERIODS
            period = low + (high - low) * torch.rand(count, 1)
            beats = math.ceil(length / (low * (1 - IRREGULARITY))) + 2
            change = IRREGULARITY * (2 * torch.rand(count, beats) - 1)
            periods = period * (1 + change * (labels == IRREGULAR).unsqueeze(1))
            times = periods.cumsum(1) - periods[:, :1] * (1 + torch.rand(count, 1))  # of R
            amplitude = 0.8 + 0.4 * torch.rand(count, 1, 1)
            noise = self.noise * torch.randn(count, leads, length)
        x = torch.zeros(count, leads, length)
        for beat in range(beats):
            x += _make_beat(times[:, beat], periods[:, beat], labels, leads, length)
        return Split(amplitude * x + noise, labels)


def _make_beat(times: Tensor, periods: Tensor, labels: Tensor, leads: int, length: int) -> Tensor:
    """Return one beat of each series, (N, leads, length).

    Arguments:
        times: The time of R in steps, (N,).
        periods: The length of a beat in steps, (N,).
    """
    phase = torch.arange(length) - times.unsqueeze(1)
    phase *= 2 * math.pi / periods.unsqueeze(1)
    centers, widths = torch.tensor(PHASES), torch.tensor(WIDTHS)
    waves = (-((phase.unsqueeze(1) - centers.view(-1, 1)) / widths.view(-1, 1)).square() / 2).exp()
    sign = torch.ones(len(labels), len(PHASES))
    sign[labels == INVERTED, T_WAVE] = -1
    sign[labels == IRREGULAR, P_WAVE] = 0
    return torch.einsum("lw,nw,nwt->nlt", torch.tensor(HEIGHTS[:leads]), sign, waves)
