"""The bounds of several draws, on the conjugate toy and the linear VAE, where log p(x) is known."""

import math

import pytest
import torch
from linear import linear_vae
from objectives.toy import LOG_P, Toy, images, weights

from vaelab.kl.capacity import Capacity
from vaelab.kl.constant import ConstantWeight
from vaelab.kl.free_bits import FreeBits
from vaelab.objectives.base import log_mean_exp
from vaelab.objectives.ciwae import CIWAE
from vaelab.objectives.dreg import DReG
from vaelab.objectives.iwae import IWAE
from vaelab.objectives.miwae import MIWAE
from vaelab.objectives.piwae import PIWAE
from vaelab.objectives.renyi import Renyi
from vaelab.objectives.stl import STL

BOUNDS = {
    "iwae": lambda kl: IWAE(kl, 6),
    "miwae": lambda kl: MIWAE(kl, 2, 3),
    "piwae": lambda kl: PIWAE(kl, 2, 3),
    "ciwae": lambda kl: CIWAE(kl, 6, 0.3),
    "dreg": lambda kl: DReG(kl, 6),
    "stl": lambda kl: STL(kl, 6),
    "renyi": lambda kl: Renyi(kl, 6, 0.5),
    "renyi above": lambda kl: Renyi(kl, 6, -2.0),
    "renyi max": lambda kl: Renyi(kl, 6, -math.inf),
}
W = 3 * torch.randn(12, 50, generator=torch.Generator().manual_seed(1)).double()


def value(objective, toy, x, seed=0):
    torch.manual_seed(seed)
    return objective(toy, x, 0)


def gradients(objective, toy, count, seed=0):
    """By the encoder's mean and by decoder and prior, of the mean loss of `count` images."""
    torch.manual_seed(seed)
    toy.zero_grad()
    objective(toy, images(count), 0)["loss"].mean().backward()
    found = [toy.encoder, toy.decoder, toy.prior]
    return [torch.cat([weight.grad for weight in each.parameters()]) for each in found]


def each_gradient(objective, toy, count):
    """By the encoder's mean (count,), of every image's own bound."""
    shift = toy.encoder.shift.detach().repeat(count, 1).requires_grad_()
    del toy.encoder.shift
    toy.encoder.shift = shift
    loss = objective(toy, images(count), 0)["loss"]
    return -torch.autograd.grad(loss.sum(), shift)[0].squeeze(-1)


@pytest.mark.parametrize("name", BOUNDS)
def test_with_the_exact_posterior_every_bound_is_log_p_without_noise(name):
    terms = BOUNDS[name](ConstantWeight())(Toy(), images(20), 0)
    for term in (-terms["loss"], terms["elbo"], terms["iw_bound"]):
        torch.testing.assert_close(term, torch.full((20,), LOG_P).double())


@pytest.mark.parametrize("name", BOUNDS)
def test_at_the_optimum_of_a_linear_vae_every_bound_is_log_p_of_every_x(name, config):
    (vae, _), x, *_ = linear_vae(config)
    from vaelab.metrics.linear import exact_elbo

    terms = BOUNDS[name](ConstantWeight())(vae, x, 0)
    torch.testing.assert_close(-terms["loss"], exact_elbo(vae, x))


@pytest.mark.parametrize(
    ("q", "samples", "bound", "tolerance"),
    [
        ((1.0, 0.3), 1, -2.077778, 0),
        ((1.0, 0.3), 5, -1.9494, 1e-4),
        ((1.0, 0.3), 50, -1.9323, 1e-4),
        ((0.0, 1.0), 1, -6.725791, 0),
        ((0.0, 1.0), 5, -2.453, 1e-3),
        ((0.0, 1.0), 50, -1.9590, 1e-4),
        ((0.0, 1.0), 500, -1.9334, 1e-4),
    ],
)
def test_iwae_has_its_known_values(q, samples, bound, tolerance):
    count = 200_000 // samples
    terms = IWAE(ConstantWeight(), samples)(Toy(*q), images(count), 0)
    error = terms["loss"].std().item() / math.sqrt(count)
    assert -terms["loss"].mean().item() == pytest.approx(bound, abs=4 * error + tolerance)
    assert torch.equal(terms["iw_bound"], -terms["loss"])


def test_the_gap_of_many_draws_is_the_variance_of_a_weight_over_twice_their_number():
    """log p - L_K ~ chi2 / (2 K), chi2 = E_q[(posterior / q)^2] - 1 = 0.0939 for N(1, .3)."""
    w = (weights(Toy(1.0, 0.3), images(1000), 1000) - LOG_P).exp()
    variance = w.var().item()
    loss = IWAE(ConstantWeight(), 100)(Toy(1.0, 0.3), images(20_000), 0)["loss"]
    error = loss.std().item() / math.sqrt(20_000)
    assert (loss.mean() + LOG_P).item() == pytest.approx(variance / 200, abs=4 * error + 1e-5)


def test_a_bound_of_all_draws_is_above_the_mean_of_its_groups():
    for groups in (2, 3, 4, 6, 12):
        below = MIWAE(ConstantWeight(), groups, 12 // groups).bound(W)
        assert (log_mean_exp(W) >= below - 1e-12).all()
        assert (below >= W.mean(0) - 1e-12).all()


def test_one_draw_one_group_and_the_ends_of_ciwae_coincide_with_their_neighbours():
    iwae, elbo = log_mean_exp(W), W.mean(0)
    kl = ConstantWeight()
    for same, as_this in (
        (MIWAE(kl, 1, 12), iwae),
        (MIWAE(kl, 12, 1), elbo),
        (CIWAE(kl, 12, 0.0), iwae),
        (CIWAE(kl, 12, 1.0), elbo),
        (CIWAE(kl, 12, 0.25), 0.25 * elbo + 0.75 * iwae),
        (Renyi(kl, 12, 0.0), iwae),
        (Renyi(kl, 12, 1.0), elbo),
        (Renyi(kl, 12, -math.inf), W.max(0).values),
    ):
        torch.testing.assert_close(same.bound(W), as_this)
    torch.testing.assert_close(IWAE(kl, 1).bound(W[:1]), W[0])


def test_the_renyi_bound_falls_with_alpha_and_passes_its_limits():
    orders = [-math.inf, -1e4, -2.0, 0.0, 0.5, 0.9999999, 1.0, 1.0000001, 3.0]
    found = torch.stack([Renyi(ConstantWeight(), 12, alpha).bound(W) for alpha in orders])
    assert (found[:-1] >= found[1:] - 1e-6).all()
    torch.testing.assert_close(found[5], found[6], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", sorted({*BOUNDS} - {"piwae"}))
def test_one_draw_is_the_sampled_elbo_draw_by_draw(name):
    toy, x = Toy(1.0, 0.3), images(50)
    objective = BOUNDS[name](ConstantWeight())
    objective.samples, objective.groups = 1, 1
    torch.manual_seed(0)
    expected = weights(toy, x, 1).squeeze(0)
    torch.testing.assert_close(-value(objective, toy, x)["loss"], expected)


@pytest.mark.parametrize("name", BOUNDS)
def test_the_weight_of_the_kl_moves_the_loss_and_not_what_is_reported(name):
    toy, x = Toy(1.0, 0.3), images(30)
    half, whole = (value(BOUNDS[name](ConstantWeight(beta)), toy, x) for beta in (0.5, 1.0))
    assert not torch.allclose(half["loss"], whole["loss"])
    for term in ("reconstruction", "kl", "elbo", "iw_bound"):
        torch.testing.assert_close(half[term], whole[term])
    assert half["kl_weight"] == 0.5


def test_iwae_and_dreg_have_the_same_mean_gradient_and_stl_another():
    """Their known values at K = 5, each with its known noise."""
    count = 100_000
    for objective, mean, spread, tolerance in (
        (IWAE(ConstantWeight(), 5), 0.1306, 1.03, 0),
        (DReG(ConstantWeight(), 5), 0.1306, 0.08, 1e-4),
        (STL(ConstantWeight(), 5), 0.710, None, 1e-3),
    ):
        found = each_gradient(objective, Toy(1.0, 0.3), count)
        error = found.std().item() / math.sqrt(count)
        assert found.mean().item() == pytest.approx(mean, abs=4 * error + tolerance)
        if spread:
            assert found.std().item() == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("weight", [0.4, 3.0])
def test_dreg_has_iwaes_mean_gradient_at_other_weights_of_the_kl(weight):
    count, found = 200_000, []
    for objective in (IWAE(ConstantWeight(weight), 3), DReG(ConstantWeight(weight), 3)):
        each = each_gradient(objective, Toy(1.0, 0.3), count)
        found.append((each.mean().item(), each.var().item() / count))
    (iwae, noise), (dreg, less) = found
    assert abs(iwae - dreg) < 4 * math.sqrt(noise + less)
    assert abs(iwae) > 8 * math.sqrt(noise)


@pytest.mark.parametrize("objective", [STL, DReG])
def test_at_the_posterior_their_gradient_is_0_in_every_draw(objective):
    found = each_gradient(objective(ConstantWeight(), 4), Toy(), 100)
    assert found.abs().max() < 1e-12
    assert each_gradient(IWAE(ConstantWeight(), 4), Toy(), 100).abs().max() > 0.1


def test_with_one_draw_the_path_derivative_has_the_elbos_mean():
    """d ELBO / d mean = (x - m) / .25 - m = 1 at m = 1."""
    found = each_gradient(STL(ConstantWeight(), 1), Toy(1.0, 0.3), 100_000)
    error = found.std().item() / math.sqrt(100_000)
    assert found.mean().item() == pytest.approx(1.0, abs=4 * error)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_decoder_and_prior_keep_iwaes_gradient_draw_by_draw(weight):
    toy, kl = Toy(1.0, 0.3), ConstantWeight(weight)
    encoder, *others = gradients(IWAE(kl, 5), toy, 10)
    for objective in (DReG(kl, 5), STL(kl, 5)):
        another, *same = gradients(objective, toy, 10)
        assert not torch.allclose(another, encoder)
        torch.testing.assert_close(same, others)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_piwae_gives_the_encoder_miwaes_gradient_and_the_rest_iwaes(weight):
    toy, kl = Toy(1.0, 0.3), ConstantWeight(weight)
    encoder, *others = gradients(PIWAE(kl, 2, 3), toy, 10)
    torch.testing.assert_close(encoder, gradients(MIWAE(kl, 2, 3), toy, 10)[0])
    torch.testing.assert_close(others, gradients(IWAE(kl, 6), toy, 10)[1:])
    assert not torch.allclose(encoder, gradients(IWAE(kl, 6), toy, 10)[0])
    torch.testing.assert_close(
        value(PIWAE(kl, 2, 3), toy, images(9))["loss"], value(IWAE(kl, 6), toy, images(9))["loss"]
    )


@pytest.mark.parametrize("kl", [FreeBits, Capacity])
@pytest.mark.parametrize("name", BOUNDS)
def test_a_weighting_that_is_not_of_each_draw_is_refused(name, kl):
    with pytest.raises(ValueError, match="set kl=constant, warmup or cyclical"):
        BOUNDS[name](kl())


@pytest.mark.parametrize("option", ["stl", "dreg"])
@pytest.mark.parametrize("posterior", ["iaf", "naf"])
def test_a_slope_that_is_not_exact_is_refused(config, option, posterior):
    from vaelab.runs.run import Run

    with pytest.raises(ValueError, match=r"rounding errors.* objective=elbo or iwae"):
        Run.build(config(f"objective={option}", f"posterior={posterior}"))


@pytest.mark.parametrize("posterior", ["full", "planar", "vmf prior=sphere"])
def test_the_path_derivative_has_the_same_mean_for_other_posteriors(config, posterior):
    """By a random direction of the encoder's bias, against the gradient of the sampled ELBO."""
    from vaelab.runs.run import Run

    words = [f"posterior={posterior.split()[0]}", *posterior.split()[1:]]
    run = Run.build(config(*words, "model.hidden=[]", "latent_dim=3", "data.shape=[1,28,28]"))
    vae, x = run.vae.double(), torch.rand(1, 1, 28, 28).double().round().expand(2000, 1, 28, 28)
    bias, found = vae.encoder.layers[-1].bias, []
    direction = torch.randn_like(bias)
    for objective in (STL(ConstantWeight(), 1), IWAE(ConstantWeight(), 1)):
        draws = []
        for _ in range(40):
            loss = objective(vae, x, 0)["loss"].mean()
            draws.append((torch.autograd.grad(loss, bias)[0] * direction).sum())
        draws = torch.stack(draws)
        found.append((draws.mean().item(), draws.var().item() / len(draws)))
    (path, noise), (total, more) = found
    assert abs(path - total) < 4 * math.sqrt(noise + more)
    assert abs(total) > 4 * math.sqrt(more)


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("iwae", "samples=0"),
        ("miwae", "groups=0"),
        ("piwae", "samples=0"),
        ("ciwae", "beta=1.5"),
        ("renyi", "alpha=inf"),
    ],
)
def test_an_impossible_setting_is_refused(part, option, setting):
    with pytest.raises(ValueError, match=rf"objective\.{setting}"):
        part(f"objective={option}", f"objective.{setting}")


@pytest.mark.parametrize(
    ("step", "training", "draws"), [(9, True, 1), (10, True, 6), (9, False, 6)]
)
def test_the_first_steps_of_iwae_are_those_of_the_elbo_in_training(step, training, draws):
    toy, x = Toy(1.0, 0.3), images(4)
    found, wanted = (
        (torch.manual_seed(0), each.train(training)(toy, x, step))[1]
        for each in (IWAE(ConstantWeight(), 6, elbo_steps=10), IWAE(ConstantWeight(), draws))
    )
    assert torch.equal(found["loss"], wanted["loss"])


def test_the_number_of_elbo_steps_is_not_negative():
    with pytest.raises(ValueError, match=r"objective\.elbo_steps=-1: .* not negative"):
        IWAE(ConstantWeight(), 6, elbo_steps=-1)
