import torch

from vaelab.noise import generator, noise, seed_from


def test_seeds_mix_their_numbers():
    seeds = {seed_from(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900


def test_noise_is_a_function_of_its_numbers_and_leaves_the_rest_alone():
    before = torch.get_rng_state()
    with noise(1, 2):
        first = torch.randn(3)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(10)
    with noise(1, 2):
        assert torch.equal(first, torch.randn(3))
    with noise(2, 1):
        assert not torch.equal(first, torch.randn(3))


def test_a_generator_is_a_function_of_its_numbers():
    first, again = (torch.rand(3, generator=generator(5, 6)) for _ in range(2))
    assert torch.equal(first, again)
