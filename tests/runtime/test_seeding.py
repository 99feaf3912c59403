"""Seeds and noise as functions of integers."""

import contextlib
import math

import pytest
import torch

from vaelab.callbacks.resume_state import ResumeState, restore_random_states
from vaelab.runtime.seeding import (
    Stream,
    derive_seed,
    seeded_generator,
    seeded_noise,
    uniform_per_image,
)


def test_seeds_differ_for_all_streams_and_numbers():
    seeds = {derive_seed(stream, a, b) for stream in Stream for a in range(20) for b in range(20)}
    assert len(seeds) == len(Stream) * 400


def test_seeded_noise_depends_on_its_numbers_only_and_restores_the_random_state():
    before = torch.get_rng_state()
    with seeded_noise(Stream.TRAINING, 1, 2):
        first = torch.randn(3)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(10)
    with seeded_noise(Stream.TRAINING, 1, 2):
        assert torch.equal(first, torch.randn(3))
    for other in ((Stream.TRAINING, 2, 1), (Stream.EVALUATION, 1, 2)):
        with seeded_noise(*other):
            assert not torch.equal(first, torch.randn(3))


def test_seeded_generator_depends_on_its_numbers_only():
    first, second = (
        torch.rand(3, generator=seeded_generator(Stream.ORDER, 5, 6)) for _ in range(2)
    )
    assert torch.equal(first, second)


SHAPE = (3, 20, 20)


def test_uniform_numbers_are_a_function_of_seed_and_image():
    index = torch.tensor([5, 0, 90_000_000, 2, 5])
    noise = uniform_per_image(3, index, SHAPE)
    assert noise.shape == (5, *SHAPE)
    assert noise.dtype == torch.float32
    order = torch.tensor([3, 1, 4, 0, 2])
    assert torch.equal(uniform_per_image(3, index[order], SHAPE), noise[order])
    alone = [uniform_per_image(3, one, SHAPE) for one in index.split(1)]
    assert torch.equal(torch.cat(alone), noise)
    assert torch.equal(noise[0], noise[4])


def test_uniform_numbers_of_fixed_seeds_stay_the_same():
    """Numbers of recorded evaluations with data.dequantize=true depend on them."""
    noise = uniform_per_image(7, torch.tensor([0, 1]), (2,)) * 2**16
    assert noise.tolist() == splitmix(7, 4)


def splitmix(seed, count):
    """Compute the upper 16 bits of SplitMix64 with Python integers."""
    start, numbers = derive_seed(Stream.DEQUANTIZATION, seed) << 31, []
    for counter in range(start, start + count):
        z = counter * 0x9E3779B97F4A7C15 % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        numbers.append((z ^ (z >> 31)) >> 48)
    return [numbers[:2], numbers[2:]]


def correlation(first, second):
    return torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].item()


def test_uniform_numbers_are_uniform_and_independent():
    noise = uniform_per_image(0, torch.arange(500), SHAPE).double()
    count = noise.numel()
    assert noise.min() >= 0
    assert noise.max() < 1
    assert noise.mean().item() == pytest.approx(0.5, abs=4 / math.sqrt(12 * count))
    assert noise.var().item() == pytest.approx(1 / 12, abs=4 / math.sqrt(180 * count))
    counts = torch.histc(noise, 50, 0, 1)
    chi_square = ((counts - count / 50) ** 2 / (count / 50)).sum().item()
    assert chi_square == pytest.approx(49, abs=4 * math.sqrt(2 * 49))
    other_seed = uniform_per_image(1, torch.arange(500), SHAPE).double()
    pairs = {
        "column": (noise[..., 1:], noise[..., :-1]),
        "row": (noise[..., 1:, :], noise[..., :-1, :]),
        "channel": (noise[:, 1:], noise[:, :-1]),
        "image": (noise[1:], noise[:-1]),
        "image after 128": (noise[128:], noise[:-128]),
        "seed": (noise, other_seed),
    }
    for name, pair in pairs.items():
        assert abs(correlation(*pair)) < 4 / math.sqrt(pair[0].numel()), name
    means, error = noise.flatten(1).mean(1), math.sqrt(1 / 12 / noise[0].numel())
    assert means.std().item() == pytest.approx(error, rel=4 / math.sqrt(2 * 500))


def test_sum_of_a_level_and_a_uniform_number_is_exact():
    noise = uniform_per_image(0, torch.arange(1000), SHAPE)
    assert torch.equal((255 + noise) - 255, noise)
    assert (255 + noise).max() < 256


class FakeMPS:
    """The generator of an Apple GPU, which torch.manual_seed seeds too."""

    state = torch.tensor([0], dtype=torch.uint8)

    def get_rng_state(self, device="mps"):
        return self.state.clone()

    def set_rng_state(self, state, device="mps"):
        self.state = state.clone()

    def manual_seed(self, seed):
        self.state = torch.tensor([seed % 251], dtype=torch.uint8)

    def _is_in_bad_fork(self):
        return False


@pytest.fixture
def mps(monkeypatch):
    generator = FakeMPS()
    monkeypatch.setattr(torch, "mps", generator)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    return generator


def test_seeded_noise_restores_the_generator_of_an_apple_gpu(mps):
    mps.state = torch.tensor([252], dtype=torch.uint8)
    with seeded_noise(Stream.TRAINING, 1):
        assert mps.state.item() != 252
    assert mps.state.item() == 252


def test_seeded_noise_restores_the_random_state_after_an_error():
    before = torch.get_rng_state()
    with contextlib.suppress(KeyError), seeded_noise(Stream.TRAINING, 1):
        raise KeyError
    assert torch.equal(before, torch.get_rng_state())


def test_checkpoints_hold_every_generator(mps):
    mps.state = torch.tensor([7], dtype=torch.uint8)
    state = ResumeState().state_dict()["states"][0]
    mps.state = torch.tensor([8], dtype=torch.uint8)
    expected = torch.rand(3)
    torch.manual_seed(5)
    restore_random_states(state)
    assert mps.state.item() == 7
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("missing", [["mps"], ["mps", "cuda"]])
def test_checkpoints_of_other_machines_and_versions_are_restored(mps, missing):
    state = {"cuda": None, **ResumeState().state_dict()["states"][0]}
    mps.state = torch.tensor([8], dtype=torch.uint8)
    restore_random_states({key: each for key, each in state.items() if key not in missing})
    assert mps.state.item() == 8
