"""Quantized posteriors and index priors of a codebook small enough to enumerate."""

import math

import pytest
import torch
from torch.distributions import kl_divergence

from vaelab.distributions.codebook import (
    AutoregressiveIndices,
    EmbeddedCodes,
    QuantizedCodes,
    UniformIndices,
    find_nearest_codes,
    indices_to_latents,
    latents_to_indices,
)

K, N, DIM = 3, 2, 4
ALL_INDICES = torch.cartesian_prod(*[torch.arange(K)] * N)


@pytest.fixture
def codebook():
    return torch.randn(K, DIM).double()


def quantize(out, codebook):
    return QuantizedCodes(
        out, find_nearest_codes(out.unflatten(-1, (-1, codebook.shape[1])), codebook), codebook
    )


def markov_chain():
    """Return a prior over indices with random transition logits."""
    transitions = torch.randn(K, K).double()

    def logits(indices):
        before = torch.cat([torch.zeros_like(indices[:, :1]), indices[:, :-1]], 1)
        return transitions[before]

    return AutoregressiveIndices(logits, torch.zeros(N).double())


def uniform():
    return UniformIndices(torch.zeros(N).double(), K)


def test_nearest_code_has_the_smallest_distance():
    vectors, codebook = torch.randn(50, 7, DIM).double(), torch.randn(40, DIM).double()
    distance = (vectors.unsqueeze(-2) - codebook).square().sum(-1)
    assert torch.equal(find_nearest_codes(vectors, codebook), distance.argmin(-1))


def test_gradient_of_a_sample_is_straight_through(codebook):
    out = torch.randn(5, N * DIM).double().requires_grad_()
    q = quantize(out, codebook)
    z = q.rsample()
    assert torch.equal(z, q.mean)
    weights = torch.randn_like(z)
    (gradient,) = torch.autograd.grad((weights * z).sum(), out)
    assert torch.equal(gradient, weights)


def test_quantized_posterior_is_a_point_mass(codebook):
    q = quantize(torch.randn(6, N * DIM).double(), codebook)
    for z in (q.rsample(), q.sample(), q.rsample(torch.Size([3])), q.mean, q.mode):
        assert (q.log_prob(z) == 0).all()
    assert (q.log_prob(q.mean + 1e-9) == -math.inf).all()
    log_q = q.log_prob(indices_to_latents(ALL_INDICES, codebook).unsqueeze(1))
    assert torch.equal(log_q.exp().sum(0), torch.ones(6).double())


def test_latents_to_indices_inverts_indices_to_latents_in_chunks(monkeypatch):
    monkeypatch.setattr("vaelab.distributions.codebook.MAX_DISTANCES", 70)
    for codebook in (torch.randn(8, DIM), torch.randn(3, 8, DIM)):
        indices = torch.randint(8, (5, 3, 9))
        z = indices_to_latents(indices, codebook)
        assert torch.equal(latents_to_indices(z, codebook), indices)


def test_latents_to_indices_inverts_indices_to_latents_for_nearly_equal_codes():
    codebook = 1e3 + torch.randn(8, DIM)
    codebook[1] = codebook[0]
    codebook[1, 0] = torch.nextafter(codebook[0, 0], torch.tensor(math.inf))
    indices = torch.randint(8, (5, 3, 9))
    assert torch.equal(latents_to_indices(indices_to_latents(indices, codebook), codebook), indices)


@pytest.mark.parametrize("p", [uniform, markov_chain])
def test_probabilities_of_all_latents_sum_to_one(codebook, p):
    p = EmbeddedCodes(p(), codebook)
    z = indices_to_latents(ALL_INDICES, codebook)
    assert p.log_prob(z).exp().sum().item() == pytest.approx(1)
    assert (p.log_prob(z + 0.1) == -math.inf).all()
    assert (p.batch_shape, p.event_shape) == ((), (N * DIM,))
    assert p.log_prob(z.expand(4, -1, -1)).shape == (4, K**N)


@pytest.mark.parametrize("p", [uniform, markov_chain])
def test_sample_frequencies_match_probabilities(codebook, p):
    p = p()
    samples = p.sample((200, 100))
    assert samples.shape == (200, 100, N)
    frequencies = (samples.reshape(-1, 1, N) == ALL_INDICES).all(-1).double().mean(0)
    expected = p.log_prob(ALL_INDICES).exp()
    error = (expected * (1 - expected) / 20_000).sqrt()
    assert ((frequencies - expected).abs() < 4.5 * error).all()
    z = EmbeddedCodes(p, codebook).sample(torch.Size([7]))
    assert torch.isfinite(EmbeddedCodes(p, codebook).log_prob(z)).all()


def test_low_temperature_samples_the_most_likely_index_at_each_step(codebook):
    p = markov_chain()
    first = p.logits(ALL_INDICES)[0, 0].argmax()
    start = torch.stack([first, first]).unsqueeze(0)
    second = p.logits(start)[0, 1].argmax()
    z = EmbeddedCodes(p, codebook).sample((20,), temperature=1e-3)
    assert (z == indices_to_latents(torch.stack([first, second]), codebook)).all()


def test_temperature_divides_the_logits():
    p = markov_chain()
    samples = p.sample((20_000,), temperature=2.0)[:, 0]
    expected = (p.logits(ALL_INDICES)[0, 0] / 2).softmax(-1)
    frequencies = samples.bincount(minlength=K) / len(samples)
    error = (expected * (1 - expected) / len(samples)).sqrt()
    assert ((frequencies - expected).abs() < 4.5 * error).all()


def test_zero_temperature_is_rejected():
    with pytest.raises(ValueError, match="temperature=0: it must be above 0"):
        markov_chain().sample((2,), temperature=0)


def test_kl_from_the_uniform_prior_is_n_ln_k(codebook):
    q = quantize(torch.randn(5, N * DIM).double(), codebook)
    kl = kl_divergence(q, EmbeddedCodes(uniform(), codebook))
    assert torch.equal(kl, torch.full((5,), N * math.log(K), dtype=torch.double))


def test_kl_is_the_difference_of_log_probabilities(codebook):
    q = quantize(torch.randn(5, N * DIM).double(), codebook)
    p = EmbeddedCodes(markov_chain(), codebook)
    z = q.rsample()
    torch.testing.assert_close(kl_divergence(q, p), q.log_prob(z) - p.log_prob(z))


def test_perplexity_is_k_for_equal_frequencies_and_1_for_a_single_code(codebook):
    equal = quantize(codebook.repeat(4, 2), codebook)
    single = quantize(codebook[:1].repeat(4, 2), codebook)
    assert equal.code_perplexity.item() == pytest.approx(K)
    assert single.code_perplexity.item() == pytest.approx(1)


def test_commitment_is_the_squared_distance_with_a_gradient_for_the_encoder_output(codebook):
    out = torch.randn(5, N * DIM).double().requires_grad_()
    codebook.requires_grad_()
    q = quantize(out, codebook.detach())
    torch.testing.assert_close(q.commitment, (out - q.mean).square().sum(-1))
    (gradient,) = torch.autograd.grad(q.commitment.sum(), out)
    torch.testing.assert_close(gradient, 2 * (out - q.mean))
