"""Randomness as a pure function of numbers, such as (seed, epoch) or (seed, batch)."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_from(*numbers: int) -> int:
    """One well-mixed seed from several non-negative numbers: (0, 1) and (1, 0) differ."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_from(*numbers))


@contextmanager
def noise(*numbers: int) -> Iterator[None]:
    """Inside, torch draws what these numbers say; outside, its random state is as it was."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed_from(*numbers))
        yield
