"""Seeds and noise as functions of integers."""

import torch

from vaelab.runtime.seeding import Stream, derive_seed, seeded_generator, seeded_noise


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
