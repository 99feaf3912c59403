"""Random numbers as a pure function of integers such as (stream, seed, epoch)."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """The purpose of random numbers; two streams never share a seed."""

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
    """Return a well-mixed seed of non-negative integers; (0, 1) and (1, 0) differ."""
    return int(np.random.SeedSequence((stream, *numbers)).generate_state(1)[0])


def seeded_generator(stream: Stream, *numbers: int) -> torch.Generator:
    """Return a generator seeded by `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(stream, *numbers))


@contextmanager
def seeded_noise(stream: Stream, *numbers: int) -> Iterator[None]:
    """Seed torch by `derive_seed` inside the context, and restore its random state afterwards."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(derive_seed(stream, *numbers))
        yield
