"""Points on codes, and priors over their indices, where all codes can be counted."""

import math

import pytest
import torch
from torch.distributions import kl_divergence

from vaelab.distributions.codebook import (
    AutoregressiveIndices,
    EmbeddedCodes,
    QuantizedCodes,
    UniformIndices,
    codes_to_vectors,
    nearest_code,
    vectors_to_indices,
)

K, N, DIM = 3, 2, 4
ALL = torch.cartesian_prod(*[torch.arange(K)] * N)


@pytest.fixture
def codebook():
    return torch.randn(K, DIM).double()


def quantise(out, codebook):
    return QuantizedCodes(
        out, nearest_code(out.unflatten(-1, (-1, codebook.shape[1])), codebook), codebook
    )


def chain():
    """p(c) of an arbitrary table for each index, given those before it."""
    table = torch.randn(K, K).double()

    def logits(indices):
        before = torch.cat([torch.zeros_like(indices[:, :1]), indices[:, :-1]], 1)
        return table[before]

    return AutoregressiveIndices(logits, torch.zeros(N).double())


def uniform():
    return UniformIndices(torch.zeros(N).double(), K)


def test_the_nearest_code_is_the_one_at_the_least_distance():
    vectors, codebook = torch.randn(50, 7, DIM).double(), torch.randn(40, DIM).double()
    distance = (vectors.unsqueeze(-2) - codebook).square().sum(-1)
    assert torch.equal(nearest_code(vectors, codebook), distance.argmin(-1))


def test_the_gradient_of_a_draw_passes_straight_through(codebook):
    out = torch.randn(5, N * DIM).double().requires_grad_()
    q = quantise(out, codebook)
    z = q.rsample()
    assert torch.equal(z, q.mean)
    slope = torch.randn_like(z)
    (gradient,) = torch.autograd.grad((slope * z).sum(), out)
    assert torch.equal(gradient, slope)


def test_a_point_has_all_probability_at_its_own_code(codebook):
    q = quantise(torch.randn(6, N * DIM).double(), codebook)
    for z in (q.rsample(), q.sample(), q.rsample(torch.Size([3])), q.mean, q.mode):
        assert (q.log_prob(z) == 0).all()
    assert (q.log_prob(q.mean + 1e-9) == -math.inf).all()
    everything = q.log_prob(codes_to_vectors(ALL, codebook).unsqueeze(1))
    assert torch.equal(everything.exp().sum(0), torch.ones(6).double())


def test_indices_come_back_from_codes_also_where_two_are_nearly_the_same():
    codebook = 1e3 + torch.randn(8, DIM)
    codebook[1] = codebook[0]
    codebook[1, 0] = torch.nextafter(codebook[0, 0], torch.tensor(math.inf))
    indices = torch.randint(8, (5, 3, 9))
    assert torch.equal(vectors_to_indices(codes_to_vectors(indices, codebook), codebook), indices)


@pytest.mark.parametrize("p", [uniform, chain])
def test_all_codes_together_have_probability_one(codebook, p):
    p = EmbeddedCodes(p(), codebook)
    z = codes_to_vectors(ALL, codebook)
    assert p.log_prob(z).exp().sum().item() == pytest.approx(1)
    assert (p.log_prob(z + 0.1) == -math.inf).all()
    assert (p.batch_shape, p.event_shape) == ((), (N * DIM,))
    assert p.log_prob(z.expand(4, -1, -1)).shape == (4, K**N)


@pytest.mark.parametrize("p", [uniform, chain])
def test_codes_are_drawn_as_often_as_they_are_probable(codebook, p):
    p = p()
    drawn = p.sample((200, 100))
    assert drawn.shape == (200, 100, N)
    found = (drawn.reshape(-1, 1, N) == ALL).all(-1).double().mean(0)
    expected = p.log_prob(ALL).exp()
    error = (expected * (1 - expected) / 20_000).sqrt()
    assert ((found - expected).abs() < 4.5 * error).all()
    z = EmbeddedCodes(p, codebook).sample(torch.Size([7]))
    assert torch.isfinite(EmbeddedCodes(p, codebook).log_prob(z)).all()


def test_a_low_temperature_draws_the_likeliest_index_at_each_step(codebook):
    p = chain()
    first = p.logits(ALL)[0, 0].argmax()
    start = torch.stack([first, first]).unsqueeze(0)
    second = p.logits(start)[0, 1].argmax()
    z = EmbeddedCodes(p, codebook).sample((20,), temperature=1e-3)
    assert (z == codes_to_vectors(torch.stack([first, second]), codebook)).all()


def test_a_temperature_divides_the_logits():
    p = chain()
    drawn = p.sample((20_000,), temperature=2.0)[:, 0]
    expected = (p.logits(ALL)[0, 0] / 2).softmax(-1)
    found = drawn.bincount(minlength=K) / len(drawn)
    error = (expected * (1 - expected) / len(drawn)).sqrt()
    assert ((found - expected).abs() < 4.5 * error).all()


def test_no_temperature_is_refused():
    with pytest.raises(ValueError, match="temperature=0: it must be above 0"):
        chain().sample((2,), temperature=0)


def test_kl_from_uniform_codes_is_n_ln_k(codebook):
    q = quantise(torch.randn(5, N * DIM).double(), codebook)
    kl = kl_divergence(q, EmbeddedCodes(uniform(), codebook))
    assert torch.equal(kl, torch.full((5,), N * math.log(K), dtype=torch.double))


def test_kl_from_any_prior_is_that_of_the_log_probabilities(codebook):
    q, p = quantise(torch.randn(5, N * DIM).double(), codebook), EmbeddedCodes(chain(), codebook)
    z = q.rsample()
    torch.testing.assert_close(kl_divergence(q, p), q.log_prob(z) - p.log_prob(z))


def test_perplexity_is_the_number_of_codes_where_all_are_alike_and_1_for_one(codebook):
    even = quantise(codebook.repeat(4, 2), codebook)
    one = quantise(codebook[:1].repeat(4, 2), codebook)
    assert even.usage.item() == pytest.approx(K)
    assert one.usage.item() == pytest.approx(1)


def test_commitment_is_the_squared_distance_and_pulls_at_the_encoder_alone(codebook):
    out = torch.randn(5, N * DIM).double().requires_grad_()
    codebook.requires_grad_()
    q = quantise(out, codebook.detach())
    torch.testing.assert_close(q.commitment, (out - q.mean).square().sum(-1))
    (gradient,) = torch.autograd.grad(q.commitment.sum(), out)
    torch.testing.assert_close(gradient, 2 * (out - q.mean))
