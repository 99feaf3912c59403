"""Test bounds of several samples on the toy model and the linear VAE, whose log p(x) is known."""

import math

import pytest
import torch
from conftest import slow
from linear import build_optimal_linear_vae
from objectives.toy import LOG_P, Toy, images, log_weights

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
    "renyi upper bound": lambda kl: Renyi(kl, 6, -2.0),
    "renyi max": lambda kl: Renyi(kl, 6, -math.inf),
}
W = 3 * torch.randn(12, 50, generator=torch.Generator().manual_seed(1)).double()


def compute_terms(objective, toy, x, seed=0):
    torch.manual_seed(seed)
    return objective(toy, x, 0)


def mean_gradients(objective, toy, count, seed=0):
    """Compute the gradients of the mean loss for the encoder, the decoder and the prior."""
    torch.manual_seed(seed)
    toy.zero_grad()
    objective(toy, images(count), 0)["loss"].mean().backward()
    parts = [toy.encoder, toy.decoder, toy.prior]
    return [torch.cat([parameter.grad for parameter in part.parameters()]) for part in parts]


def encoder_gradients(objective, toy, count):
    """Compute the gradient of each image's bound with respect to the encoder's mean, (count,)."""
    shift = toy.encoder.shift.detach().repeat(count, 1).requires_grad_()
    del toy.encoder.shift
    toy.encoder.shift = shift
    loss = objective(toy, images(count), 0)["loss"]
    return -torch.autograd.grad(loss.sum(), shift)[0].squeeze(-1)


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_of_the_exact_posterior_equal_log_p(name):
    terms = BOUNDS[name](ConstantWeight())(Toy(), images(20), 0)
    for term in (-terms["loss"], terms["elbo"], terms["iw_bound"]):
        torch.testing.assert_close(term, torch.full((20,), LOG_P).double())


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_of_an_optimal_linear_vae_equal_log_p(name, config):
    (vae, _), x, *_ = build_optimal_linear_vae(config)
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


def test_gap_of_many_samples_is_the_weight_variance_over_twice_their_number():
    """log p - L_K ~ chi2 / (2 K), chi2 = E_q[(posterior / q)^2] - 1 = 0.0939 for N(1, .3)."""
    w = (log_weights(Toy(1.0, 0.3), images(1000), 1000) - LOG_P).exp()
    variance = w.var().item()
    loss = IWAE(ConstantWeight(), 100)(Toy(1.0, 0.3), images(20_000), 0)["loss"]
    error = loss.std().item() / math.sqrt(20_000)
    assert (loss.mean() + LOG_P).item() == pytest.approx(variance / 200, abs=4 * error + 1e-5)


def test_bound_of_all_samples_is_above_the_mean_of_groups():
    for groups in (2, 3, 4, 6, 12):
        miwae = MIWAE(ConstantWeight(), groups, 12 // groups).bound(W)
        assert (log_mean_exp(W) >= miwae - 1e-12).all()
        assert (miwae >= W.mean(0) - 1e-12).all()


def test_special_cases_equal_the_elbo_or_iwae():
    iwae, elbo = log_mean_exp(W), W.mean(0)
    kl = ConstantWeight()
    for objective, expected in (
        (MIWAE(kl, 1, 12), iwae),
        (MIWAE(kl, 12, 1), elbo),
        (CIWAE(kl, 12, 0.0), iwae),
        (CIWAE(kl, 12, 1.0), elbo),
        (CIWAE(kl, 12, 0.25), 0.25 * elbo + 0.75 * iwae),
        (Renyi(kl, 12, 0.0), iwae),
        (Renyi(kl, 12, 1.0), elbo),
        (Renyi(kl, 12, -math.inf), W.max(0).values),
    ):
        torch.testing.assert_close(objective.bound(W), expected)
    torch.testing.assert_close(IWAE(kl, 1).bound(W[:1]), W[0])


def test_renyi_bound_decreases_with_alpha_and_reaches_its_limits():
    orders = [-math.inf, -1e4, -2.0, 0.0, 0.5, 0.9999999, 1.0, 1.0000001, 3.0]
    bounds = torch.stack([Renyi(ConstantWeight(), 12, alpha).bound(W) for alpha in orders])
    assert (bounds[:-1] >= bounds[1:] - 1e-6).all()
    torch.testing.assert_close(bounds[5], bounds[6], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(bounds[0], bounds[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", sorted({*BOUNDS} - {"piwae"}))
def test_bounds_of_one_sample_equal_its_log_weight(name):
    toy, x = Toy(1.0, 0.3), images(50)
    objective = BOUNDS[name](ConstantWeight())
    objective.samples, objective.groups = 1, 1
    torch.manual_seed(0)
    expected = log_weights(toy, x, 1).squeeze(0)
    torch.testing.assert_close(-compute_terms(objective, toy, x)["loss"], expected)


@pytest.mark.parametrize("name", BOUNDS)
def test_kl_weight_changes_the_loss_but_not_the_logged_bounds(name):
    toy, x = Toy(1.0, 0.3), images(30)
    half, full = (compute_terms(BOUNDS[name](ConstantWeight(beta)), toy, x) for beta in (0.5, 1.0))
    assert not torch.allclose(half["loss"], full["loss"])
    for term in ("reconstruction", "kl", "elbo", "iw_bound"):
        torch.testing.assert_close(half[term], full[term])
    assert half["kl_weight"] == 0.5


def test_dreg_has_the_mean_gradient_of_iwae_and_stl_does_not():
    """Compare with the known means and standard deviations for K = 5."""
    count = 100_000
    for objective, mean, std, tolerance in (
        (IWAE(ConstantWeight(), 5), 0.1306, 1.03, 0),
        (DReG(ConstantWeight(), 5), 0.1306, 0.08, 1e-4),
        (STL(ConstantWeight(), 5), 0.710, None, 1e-3),
    ):
        gradient = encoder_gradients(objective, Toy(1.0, 0.3), count)
        error = gradient.std().item() / math.sqrt(count)
        assert gradient.mean().item() == pytest.approx(mean, abs=4 * error + tolerance)
        if std:
            assert gradient.std().item() == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("weight", [0.4, 3.0])
def test_dreg_has_the_mean_gradient_of_iwae_at_other_kl_weights(weight):
    count, estimates = 200_000, []
    for objective in (IWAE(ConstantWeight(weight), 3), DReG(ConstantWeight(weight), 3)):
        gradient = encoder_gradients(objective, Toy(1.0, 0.3), count)
        estimates.append((gradient.mean().item(), gradient.var().item() / count))
    (iwae, iwae_variance), (dreg, dreg_variance) = estimates
    assert abs(iwae - dreg) < 4 * math.sqrt(iwae_variance + dreg_variance)
    assert abs(iwae) > 8 * math.sqrt(iwae_variance)


@pytest.mark.parametrize("objective", [STL, DReG])
def test_gradient_of_the_exact_posterior_is_0_for_every_sample(objective):
    gradient = encoder_gradients(objective(ConstantWeight(), 4), Toy(), 100)
    assert gradient.abs().max() < 1e-12
    assert encoder_gradients(IWAE(ConstantWeight(), 4), Toy(), 100).abs().max() > 0.1


def test_path_derivative_of_one_sample_has_the_mean_of_the_elbo_gradient():
    """d ELBO / d mean = (x - m) / .25 - m = 1 at m = 1."""
    gradient = encoder_gradients(STL(ConstantWeight(), 1), Toy(1.0, 0.3), 100_000)
    error = gradient.std().item() / math.sqrt(100_000)
    assert gradient.mean().item() == pytest.approx(1.0, abs=4 * error)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_decoder_and_prior_gradients_equal_those_of_iwae(weight):
    toy, kl = Toy(1.0, 0.3), ConstantWeight(weight)
    encoder, *others = mean_gradients(IWAE(kl, 5), toy, 10)
    for objective in (DReG(kl, 5), STL(kl, 5)):
        path_encoder, *path_others = mean_gradients(objective, toy, 10)
        assert not torch.allclose(path_encoder, encoder)
        torch.testing.assert_close(path_others, others)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_piwae_trains_the_encoder_by_miwae_and_the_rest_by_iwae(weight):
    toy, kl = Toy(1.0, 0.3), ConstantWeight(weight)
    encoder, *others = mean_gradients(PIWAE(kl, 2, 3), toy, 10)
    torch.testing.assert_close(encoder, mean_gradients(MIWAE(kl, 2, 3), toy, 10)[0])
    torch.testing.assert_close(others, mean_gradients(IWAE(kl, 6), toy, 10)[1:])
    assert not torch.allclose(encoder, mean_gradients(IWAE(kl, 6), toy, 10)[0])
    torch.testing.assert_close(
        compute_terms(PIWAE(kl, 2, 3), toy, images(9))["loss"],
        compute_terms(IWAE(kl, 6), toy, images(9))["loss"],
    )


@pytest.mark.parametrize("kl", [FreeBits, Capacity])
@pytest.mark.parametrize("name", BOUNDS)
def test_nonlinear_kl_weighting_is_refused(name, kl):
    with pytest.raises(ValueError, match="not linear in the KL: set kl=constant, warmup or"):
        BOUNDS[name](kl())


@pytest.mark.parametrize("option", ["stl", "dreg"])
@pytest.mark.parametrize("posterior", ["iaf", "naf"])
def test_posterior_without_an_exact_density_is_refused(config, option, posterior):
    from vaelab.runs.run import RunParts

    with pytest.raises(ValueError, match=r"rounding errors.* objective=elbo or iwae"):
        RunParts.build(config(f"objective={option}", f"posterior={posterior}"))


@pytest.mark.parametrize(
    "posterior",
    [
        "full",
        *slow("planar", "vmf prior=sphere"),
    ],
)
def test_path_derivative_has_the_same_mean_for_other_posteriors(config, posterior):
    """Compare gradients along a random direction of the encoder's bias with those of the ELBO."""
    from vaelab.runs.run import RunParts

    words = [f"posterior={posterior.split()[0]}", *posterior.split()[1:]]
    run = RunParts.build(config(*words, "model.hidden=[]", "latent_dim=3", "data.shape=[1,28,28]"))
    vae, x = run.vae.double(), torch.rand(1, 1, 28, 28).double().round().expand(2000, 1, 28, 28)
    bias, estimates = vae.encoder.layers[-1].bias, []
    direction = torch.randn_like(bias)
    for objective in (STL(ConstantWeight(), 1), IWAE(ConstantWeight(), 1)):
        slopes = []
        for _ in range(40):
            loss = objective(vae, x, 0)["loss"].mean()
            slopes.append((torch.autograd.grad(loss, bias)[0] * direction).sum())
        slopes = torch.stack(slopes)
        estimates.append((slopes.mean().item(), slopes.var().item() / len(slopes)))
    (path, path_variance), (total, total_variance) = estimates
    assert abs(path - total) < 4 * math.sqrt(path_variance + total_variance)
    assert abs(total) > 4 * math.sqrt(total_variance)


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
def test_invalid_setting_raises(part, option, setting):
    with pytest.raises(ValueError, match=rf"objective\.{setting}"):
        part(f"objective={option}", f"objective.{setting}")


@pytest.mark.parametrize(
    ("step", "training", "samples"), [(9, True, 1), (10, True, 6), (9, False, 6)]
)
def test_elbo_steps_use_one_sample_only_in_training(step, training, samples):
    toy, x = Toy(1.0, 0.3), images(4)
    losses = []
    for objective in (IWAE(ConstantWeight(), 6, elbo_steps=10), IWAE(ConstantWeight(), samples)):
        torch.manual_seed(0)
        losses.append(objective.train(training)(toy, x, step)["loss"])
    assert torch.equal(*losses)


def test_negative_elbo_steps_raise():
    with pytest.raises(ValueError, match=r"objective\.elbo_steps=-1: .* not negative"):
        IWAE(ConstantWeight(), 6, elbo_steps=-1)
