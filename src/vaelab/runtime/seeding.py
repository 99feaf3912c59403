"""Randomness as a pure function of numbers, such as (stream, seed, epoch)."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What random numbers are drawn for; two streams never share a seed."""

    SPLIT = 0
    ORDER = 1
    TRAINING = 2
    EVALUATION = 3
    PICTURES = 4
    DEQUANTIZATION = 5
    SAMPLES = 6
    PROBES = 7
    POINTS = 8


def derive_seed(stream: Stream, *numbers: int) -> int:
    """One well-mixed seed from non-negative numbers: (0, 1) and (1, 0) differ."""
    return int(np.random.SeedSequence((stream, *numbers)).generate_state(1)[0])


def seeded_generator(stream: Stream, *numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(stream, *numbers))


@contextmanager
def seeded_noise(stream: Stream, *numbers: int) -> Iterator[None]:
    """Inside, torch draws what these numbers say; outside, its random state is as it was."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(derive_seed(stream, *numbers))
        yield
