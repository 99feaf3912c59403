"""Test the DIP-VAE: its covariances, its penalty, and the posteriors that it refuses."""

import pytest
import torch

from vaelab.runs.run import RunParts


def build_run(config, *words):
    words = ["objective=dip", "model.hidden=[16]", "latent_dim=3", *words]
    run = RunParts.build(config(*words))
    run.vae.double()
    return run


X = torch.rand(50, 1, 28, 28, generator=torch.Generator().manual_seed(0)).double().round()


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_covariance_is_that_of_the_means_or_of_z(config, posterior):
    first = build_run(config, f"posterior={posterior}", "objective.variant=I")
    q = first.vae.encode(X)
    means = torch.cov(q.mean.T, correction=0)
    torch.testing.assert_close(first.module.objective.covariance(q), means)
    second = build_run(config, f"posterior={posterior}")
    covariance = second.module.objective.covariance(q)
    z = q.sample((4000,)).flatten(0, 1)
    torch.testing.assert_close(covariance, torch.cov(z.T), rtol=0.03, atol=0.02)
    assert (covariance.diagonal() > means.diagonal()).all()


def test_loss_adds_the_penalty_of_the_paper(config):
    run = build_run(config, "objective.off_diagonal=2", "objective.diagonal=3")
    terms = run.module.objective(run.vae, X, 0)
    c = run.module.objective.covariance(run.vae.encode(X))
    expected = 0.0
    for i in range(3):
        for j in range(3):
            expected += 3 * (c[i, i] - 1) ** 2 if i == j else 2 * c[i, j] ** 2
    torch.testing.assert_close(terms["dip"], expected)
    torch.testing.assert_close(terms["loss"], expected - terms["elbo"])


def test_covariance_of_latents_that_follow_the_prior_is_the_identity(config):
    """Half of the variance is between the posterior means, half is within the posteriors."""
    from vaelab.distributions.normal import DiagonalNormal

    z = torch.linalg.qr(torch.randn(500, 3).double())[0]
    z = z - z.mean(0)
    means = (z @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T, correction=0))).T) / 2**0.5
    q = DiagonalNormal(means, torch.full((500, 3), 0.5**0.5).double().log())
    covariance = build_run(config).module.objective.covariance(q)
    torch.testing.assert_close(covariance, torch.eye(3).double())


@pytest.mark.parametrize(("posterior", "variant"), [("iaf", "I"), ("planar", "II"), ("vmf", "II")])
def test_posterior_without_closed_form_moments_is_refused(config, posterior, variant):
    prior = "sphere" if posterior == "vmf" else "normal"
    words = [f"posterior={posterior}", f"prior={prior}", f"objective.variant={variant}"]
    with pytest.raises(ValueError, match="set posterior=diagonal or full"):
        build_run(config, *words)
