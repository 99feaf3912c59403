import itertools

import torch

from vaelab.distributions.discretized_logistic import log_mass
from vaelab.distributions.levels import Levels
from vaelab.distributions.logistic_mixture import IndependentLogisticMixture


def test_levels_are_torchs_categorical():
    logits = torch.randn(4, 3, 256, 2, 2).double()
    level = torch.randint(0, 256, (4, 3, 2, 2))
    oracle = torch.distributions.Categorical(logits=logits.movedim(2, -1)).log_prob(level)
    torch.testing.assert_close(Levels(logits).log_prob(level / 255), oracle.sum((1, 2, 3)))


def test_levels_of_several_codes_meet_one_picture():
    logits, x = torch.randn(5, 1, 1, 256, 2, 2), torch.randint(0, 256, (4, 1, 2, 2)) / 255
    found = Levels(logits).log_prob(x)
    assert found.shape == (5, 4)
    torch.testing.assert_close(found[2, 3], Levels(logits[2, 0]).log_prob(x[3]))


def mixture(components=3, channels=3, places=(2, 2)):
    pairs = channels * (channels - 1) // 2
    return IndependentLogisticMixture(
        torch.randn(components, *places).double(),
        torch.rand(components, channels, *places).double(),
        0.02 + 0.1 * torch.rand(components, channels, *places).double(),
        torch.randn(components, pairs, *places).double().tanh(),
    )


def test_a_mixture_written_out():
    p, x = mixture(), torch.randint(0, 256, (3, 2, 2)).double() / 255
    total = 0.0
    for i, j in itertools.product(range(2), range(2)):
        weights = p.logits[:, i, j].softmax(0)
        chance = torch.zeros(()).double()
        for k in range(3):
            a, loc, scale = (part[k, :, i, j] for part in (p.coefficients, p.loc, p.scale))
            red, green, _ = x[:, i, j]
            means = (loc[0], loc[1] + a[0] * red, loc[2] + a[1] * red + a[2] * green)
            terms = [log_mass(x[c, i, j], means[c], scale[c]) for c in range(3)]
            chance = chance + weights[k] * sum(terms).exp()
        total = total + chance.log()
    torch.testing.assert_close(p.log_prob(x), total)


def test_a_mixture_sums_to_one_over_two_channels():
    p = mixture(channels=2, places=(1, 1))
    levels = torch.arange(256).double() / 255
    x = torch.cartesian_prod(levels, levels).reshape(-1, 2, 1, 1)
    torch.testing.assert_close(p.log_prob(x).exp().sum(), torch.ones(()).double())


def test_samples_of_a_mixture_are_as_likely_as_it_says():
    p = mixture(channels=2, places=(1, 1))
    x = p.sample((20_000,))
    levels = torch.arange(256).double() / 255
    grid = torch.cartesian_prod(levels, levels)
    chances = p.log_prob(grid.reshape(-1, 2, 1, 1)).exp()
    for direction in torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]).double():
        values = grid @ direction
        expected = (chances * values).sum()
        spread = ((chances * (values - expected).square()).sum() / 20_000).sqrt()
        assert (x.flatten(1) @ direction).mean().sub(expected).abs() < 4.5 * spread
