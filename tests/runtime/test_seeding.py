import torch

from vaelab.runtime.seeding import Stream, derive_seed, seeded_generator, seeded_noise


def test_seeds_mix_their_stream_and_numbers():
    seeds = {derive_seed(stream, a, b) for stream in Stream for a in range(20) for b in range(20)}
    assert len(seeds) == len(Stream) * 400


def test_noise_is_a_function_of_its_numbers_and_leaves_the_rest_alone():
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


def test_a_generator_is_a_function_of_its_numbers():
    first, again = (torch.rand(3, generator=seeded_generator(Stream.ORDER, 5, 6)) for _ in range(2))
    assert torch.equal(first, again)
