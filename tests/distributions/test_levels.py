import itertools

import torch

from vaelab.distributions.discretized_logistic import log_mass
from vaelab.distributions.levels import IndependentCategorical
from vaelab.distributions.logistic_mixture import IndependentLogisticMixture


def test_categorical_log_prob_agrees_with_torch():
    logits = torch.randn(4, 3, 256, 2, 2).double()
    level = torch.randint(0, 256, (4, 3, 2, 2))
    expected = torch.distributions.Categorical(logits=logits.movedim(2, -1)).log_prob(level)
    log_p = IndependentCategorical(logits).log_prob(level / 255)
    torch.testing.assert_close(log_p, expected.sum((1, 2, 3)))


def test_categorical_log_prob_broadcasts_latents_against_images():
    logits, x = torch.randn(5, 1, 1, 256, 2, 2), torch.randint(0, 256, (4, 1, 2, 2)) / 255
    log_p = IndependentCategorical(logits).log_prob(x)
    assert log_p.shape == (5, 4)
    torch.testing.assert_close(log_p[2, 3], IndependentCategorical(logits[2, 0]).log_prob(x[3]))


def make_mixture(components=3, channels=3, positions=(2, 2)):
    pairs = channels * (channels - 1) // 2
    return IndependentLogisticMixture(
        torch.randn(components, *positions).double(),
        torch.rand(components, channels, *positions).double(),
        0.02 + 0.1 * torch.rand(components, channels, *positions).double(),
        torch.randn(components, pairs, *positions).double().tanh(),
    )


def test_mixture_log_prob_agrees_with_explicit_sums():
    p, x = make_mixture(), torch.randint(0, 256, (3, 2, 2)).double() / 255
    total = 0.0
    for i, j in itertools.product(range(2), range(2)):
        weights = p.logits[:, i, j].softmax(0)
        probability = torch.zeros(()).double()
        for k in range(3):
            a, loc, scale = (part[k, :, i, j] for part in (p.coefficients, p.loc, p.scale))
            red, green, _ = x[:, i, j]
            means = (loc[0], loc[1] + a[0] * red, loc[2] + a[1] * red + a[2] * green)
            terms = [log_mass(x[c, i, j], means[c], scale[c]) for c in range(3)]
            probability = probability + weights[k] * sum(terms).exp()
        total = total + probability.log()
    torch.testing.assert_close(p.log_prob(x), total)


def test_mixture_of_two_channels_sums_to_one():
    p = make_mixture(channels=2, positions=(1, 1))
    levels = torch.arange(256).double() / 255
    x = torch.cartesian_prod(levels, levels).reshape(-1, 2, 1, 1)
    torch.testing.assert_close(p.log_prob(x).exp().sum(), torch.ones(()).double())


def test_mixture_samples_match_the_probabilities():
    p = make_mixture(channels=2, positions=(1, 1))
    x = p.sample((20_000,))
    levels = torch.arange(256).double() / 255
    grid = torch.cartesian_prod(levels, levels)
    probabilities = p.log_prob(grid.reshape(-1, 2, 1, 1)).exp()
    for direction in torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]).double():
        values = grid @ direction
        expected = (probabilities * values).sum()
        error = ((probabilities * (values - expected).square()).sum() / 20_000).sqrt()
        assert (x.flatten(1) @ direction).mean().sub(expected).abs() < 4.5 * error
