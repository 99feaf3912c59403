"""Test the VQ-VAE on models so small that log p(x) is a sum over all codes."""

import math

import pytest
import torch
from conftest import options

from vaelab.distributions.codebook import indices_to_latents
from vaelab.runs.run import RunParts

SMALL = ["objective=vq", "model.hidden=[8]", "latent_dim=4", "posterior.dim=2", "posterior.codes=3"]
ALL_CODES = torch.cartesian_prod(*[torch.arange(3)] * 2)


@pytest.fixture
def run(config):
    def build(*words):
        run = RunParts.build(config(*SMALL, *words))
        run.vae.initialize(torch.rand(50, 1, 28, 28).round())
        return run

    return build


def log_p(vae, x):
    """Compute log p(x) = log sum_c p(c) p(x|c) (B,) over all codes c."""
    z = indices_to_latents(ALL_CODES, vae.posterior.codebook)
    joint = vae.decode(z).log_prob(x.unsqueeze(1)) + vae.latents().log_prob(z)
    return joint.logsumexp(-1)


@pytest.mark.parametrize("prior", ["codes", "pixelcnn"])
def test_elbo_is_at_most_the_exact_log_p(run, prior):
    words = ["prior.channels=4", "prior.layers=2"] if prior == "pixelcnn" else []
    run, x = run(f"prior={prior}", *words), torch.rand(6, 1, 28, 28).round()
    run.vae.eval()
    terms = run.module.objective(run.vae, x, 0)
    assert (terms["elbo"] <= log_p(run.vae, x) + 1e-3).all()
    torch.testing.assert_close(terms["elbo"], -terms["reconstruction"] - terms["kl"])


@pytest.mark.parametrize(
    "words",
    [
        "posterior=fsq posterior.levels=[3,4]",
        "posterior=lfq posterior.bits=2",
        "posterior=residual_vq posterior.dim=2 posterior.depth=2 posterior.codes=3",
        "posterior=vq posterior.dim=2 posterior.codes=3 posterior.simvq=true",
        "posterior=vq posterior.dim=2 posterior.codes=3 posterior.cosine=true",
    ],
)
def test_elbo_of_every_quantizer_is_the_joint_probability_of_x_and_its_codes(config, words):
    run = RunParts.build(config("objective=vq", "model.hidden=[8]", "latent_dim=4", *words.split()))
    x, vae = torch.rand(6, 1, 28, 28).round(), run.vae.eval()
    vae.initialize(x)
    posterior = vae.posterior
    terms = run.module.objective(vae, x, 0)
    all_codes = torch.cartesian_prod(*[torch.arange(posterior.codes)] * 2)
    z = indices_to_latents(all_codes, posterior.get_codebook())
    joint = vae.decode(z).log_prob(x.unsqueeze(1)) - 2 * math.log(posterior.codes)
    torch.testing.assert_close(vae.latents().log_prob(z).exp().sum(), torch.tensor(1.0))
    chosen = vae.encode(x).indices @ torch.tensor([posterior.codes, 1])
    expected = joint.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(terms["elbo"], expected, rtol=1e-4, atol=1e-3)
    assert (terms["elbo"] <= joint.logsumexp(-1) + 1e-3).all()
    assert ("commitment" in terms) == ("fsq" not in words)


def test_commitment_of_a_posterior_without_one_is_refused(config):
    with pytest.raises(ValueError, match=r"commitment=0\.5: FSQ bounds the encoder output"):
        RunParts.build(config("objective=vq", "posterior=fsq", "objective.commitment=0.5"))


def test_gap_of_the_elbo_is_the_log_posterior_of_the_chosen_code(run):
    """log p(x) - ELBO = -log p(c|x) for the code c that q(z|x) chose."""
    run, x = run(), torch.rand(6, 1, 28, 28).round()
    vae = run.vae.eval()
    z = indices_to_latents(ALL_CODES, vae.posterior.codebook)
    joint = vae.decode(z).log_prob(x.unsqueeze(1)) - 2 * math.log(3)
    chosen = (vae.encode(x).indices @ torch.tensor([3, 1])).unsqueeze(-1)
    gap = -joint.log_softmax(-1).gather(-1, chosen).squeeze(-1)
    elbo = run.module.objective(vae, x, 0)["elbo"]
    torch.testing.assert_close(log_p(vae, x) - elbo, gap, atol=1e-3, rtol=1e-4)


def test_loss_is_minus_the_bound_plus_the_commitment(run):
    run, x = run("objective.commitment=0.5"), torch.rand(6, 1, 28, 28).round()
    terms = run.module.objective(run.vae, x, 0)
    expected = -terms["elbo"] + 0.5 * terms["commitment"]
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["kl"], torch.full((6,), 2 * math.log(3)))
    assert terms["perplexity"].shape == ()
    assert 1 <= terms["perplexity"] <= 3.001


def test_gradient_of_the_encoder_passes_straight_through_the_quantization(run):
    """The gradient for the encoder's output is the one for z plus 2 commitment (out - z)."""
    run, x = run("objective.commitment=0.25"), torch.rand(6, 1, 28, 28).round()
    vae, outputs = run.vae.eval(), []
    vae.encoder.register_forward_hook(
        lambda _, __, out: (out.retain_grad(), outputs.append(out))[0]
    )
    run.module.objective(vae, x, 0)["loss"].sum().backward()
    (out,) = outputs
    z = vae.posterior(out.detach()).mean.requires_grad_()
    (slope,) = torch.autograd.grad(-vae.decode(z).log_prob(x).sum(), z)
    torch.testing.assert_close(out.grad, slope + 0.5 * (out - z).detach())


def test_kl_trains_the_prior_but_not_the_encoder(run):
    run, x = run("prior=pixelcnn", "prior.channels=4"), torch.rand(6, 1, 28, 28).round()
    run.module.objective(run.vae, x, 0)["kl"].sum().backward()
    assert all(weight.grad is not None for weight in run.vae.prior.parameters())
    assert all(weight.grad is None for weight in run.vae.encoder.parameters())


ACCEPT_POINTS = {"vq", "prior", "autoencoder", "wae_mmd", "swae", "aae"}
NAME_A_POSTERIOR = {"beta_tc", "rae"}  # their error names the posterior they need


@pytest.mark.parametrize(
    "objective", sorted({*options("objective")} - ACCEPT_POINTS - NAME_A_POSTERIOR)
)
def test_objective_that_needs_varying_samples_is_refused(config, objective):
    with pytest.raises(ValueError, match=r"samples vary.* set objective=vq"):
        RunParts.build(config("posterior=vq", f"objective={objective}", "model.hidden=[8]"))


@pytest.mark.parametrize("objective", sorted(NAME_A_POSTERIOR))
def test_objective_that_needs_another_posterior_names_it(config, objective):
    with pytest.raises(ValueError, match="set posterior="):
        RunParts.build(config("posterior=vq", f"objective={objective}"))


@pytest.mark.parametrize("objective", sorted(ACCEPT_POINTS - {"vq", "prior"}))
def test_objective_without_a_kl_accepts_a_codebook(config, objective):
    run = RunParts.build(config("posterior=vq", f"objective={objective}", "model.hidden=[8]"))
    terms = run.module.objective(run.vae, torch.rand(6, 1, 28, 28).round(), 0)
    terms["loss"].mean().backward()
    assert torch.isfinite(terms["loss"]).all()
    with pytest.raises(ValueError, match="codes for posterior=vq"):
        RunParts.build(config("posterior=vq", f"objective={objective}", "prior=pixelcnn"))


def test_posterior_without_a_codebook_is_refused(config):
    with pytest.raises(ValueError, match="set posterior=vq, or model=vq"):
        RunParts.build(config("objective=vq", "posterior=diagonal", "prior=normal"))


def test_vamp_prior_is_refused(config):
    with pytest.raises(ValueError, match="points: set prior=codes or prior=pixelcnn"):
        RunParts.build(config("objective=vq", "prior=vamp"))


@pytest.mark.parametrize("kl", ["kl=free_bits", "kl=capacity", "kl.beta=4"])
def test_kl_weighting_is_refused(train, kl):
    with pytest.raises(ValueError, match="no weighted KL term"):
        train("objective=vq", kl)


def test_run_is_evaluated_with_one_sample(train):
    numbers = train("objective=vq", "model.hidden=[8]", "samples=50")
    assert numbers["samples"] == 1
    assert numbers["nll"] == pytest.approx(-numbers["elbo"], rel=1e-5)
    assert numbers["kl"] == pytest.approx(5 * math.log(512), rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # raised inside torch during compilation
def test_compiled_objective_has_the_same_gradient_and_codebook(run):
    run, x, results = run("posterior.revive=0"), torch.rand(6, 1, 28, 28).round(), []
    start = {name: value.clone() for name, value in run.vae.state_dict().items()}
    for compiled in (False, True):
        if compiled:
            run.module.objective.compile()
        run.vae.load_state_dict(start)
        run.module.zero_grad()
        run.module.objective(run.vae, x, 0)["loss"].mean().backward()
        gradients = [weight.grad.clone() for weight in run.vae.parameters()]
        results.append([*gradients, run.vae.posterior.codebook.clone()])
    assert not torch.equal(results[0][-1], start["posterior.codebook"])
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_trained_model_uses_its_codes_and_beats_the_mean_image(train):
    numbers = train(
        "model=vq",
        "model.channels=32",
        "model.residual=16",
        "posterior.dim=16",
        "latent_dim=784",
        "posterior.codes=32",
        "trainer.max_epochs=6",
        "trainer.limit_train_batches=1.0",
        "trainer.limit_val_batches=1.0",
        "data.batch_size=64",
        "optimizer.lr=1e-3",
    )
    run = RunParts.open(numbers["folder"])
    x = run.data.prepare(run.data.splits["test"].images)
    assert numbers["rmse"] < 0.18
    with torch.no_grad():
        assert run.vae.eval().encode(x).code_perplexity > 8
