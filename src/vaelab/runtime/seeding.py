"""Random numbers as a pure function of integers such as (stream, seed, epoch)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

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
    SUBSET = 9
    AUGMENTATION = 10


def derive_seed(stream: Stream, *numbers: int) -> int:
    """Return a well-mixed seed of non-negative integers; (0, 1) and (1, 0) differ."""
    return int(np.random.SeedSequence((stream, *numbers)).generate_state(1)[0])


def seeded_generator(stream: Stream, *numbers: int) -> torch.Generator:
    """Return a generator seeded by `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(stream, *numbers))


def get_generator_states() -> dict[str, torch.Tensor]:
    """Return the states of the generators that `torch.manual_seed` seeds.

    Returns:
        The states by cpu, cuda and mps, for those that this machine has.
    """
    return {kind: module.get_rng_state() for kind, module in _generators().items()}


def set_generator_states(states: Mapping[str, torch.Tensor]) -> None:
    """Restore states of `get_generator_states`, perhaps of a machine with other devices."""
    for kind, module in _generators().items():
        if kind in states:
            module.set_rng_state(states[kind])


def _generators() -> dict[str, Any]:
    """Return the modules with the generators of the CPU and of the GPU of this process."""
    generators: dict[str, Any] = {"cpu": torch.random}
    if torch.cuda.is_available():
        generators["cuda"] = torch.cuda
    if torch.backends.mps.is_available():
        generators["mps"] = torch.mps
    return generators


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Restore the states of all generators at the end of the context."""
    states = get_generator_states()
    try:
        yield
    finally:
        set_generator_states(states)


@contextmanager
def seeded_noise(stream: Stream, *numbers: int) -> Iterator[None]:
    """Seed torch by `derive_seed` inside the context, and restore its random state afterwards."""
    with preserved_generators():
        torch.manual_seed(derive_seed(stream, *numbers))
        yield


def uniform_per_image(
    seed: int,
    index: torch.Tensor,
    shape: Sequence[int],
    stream: Stream = Stream.DEQUANTIZATION,
    *purpose: int,
) -> torch.Tensor:
    """Return numbers in [0, 1) that depend on the seed, the image and the position in it only.

    They are bit-identical on every device and in every batch: each is the hash of a counter. They
    are multiples of 2^-16, so that the sum with one of 256 levels is exact in float32.

    Arguments:
        seed: A seed.
        index: The index of each image in its split (B,).
        shape: The shape of an image.
        stream, purpose: The numbers are those of (stream, seed, *purpose).

    Returns:
        (B, *shape) in float32.

    Reference: Fast Splittable Pseudorandom Number Generators (Steele et al., 2014), section 4, with
        the constants of SplitMix64
    """
    size = math.prod(shape)
    start = derive_seed(stream, seed, *purpose) << 31
    counter = index.unsqueeze(1) * size + torch.arange(size, device=index.device) + start
    mixed = counter * _GAMMA
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        mixed = (mixed ^ _shift_right(mixed, shift)) * factor
    mixed = mixed ^ _shift_right(mixed, 31)
    return (_shift_right(mixed, 48).float() / 2**16).reshape(len(index), *shape)


def _shift_right(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift 64 bits to the right, with zeros from the left; torch would repeat the sign."""
    return (x >> bits) & (2 ** (64 - bits) - 1)


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x


_GAMMA, _MIX_1, _MIX_2 = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
