"""Imputation and log p(x_obs), against the closed forms of a linear-Gaussian model."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from vaelab.estimators import importance
from vaelab.estimators.importance import importance_bound
from vaelab.estimators.imputation import impute
from vaelab.runtime.build import build_from_config
from vaelab.vae import VAE

D, Q, SCALE = 5, 2, 0.5  # the scale is exact in float32


class ExactPosterior(VAE):
    """A linear VAE with p(x|z) = N(W z + b, s^2 I), whose q(z|x_obs) is the exact posterior."""

    def encode(self, x):
        filled, observed = self.prepare_encoder_input(x).chunk(2, 1)
        layer = self.decoder.layers[-1]
        weight = layer.weight * observed.unsqueeze(-1)  # (B, D, Q)
        precision = torch.eye(Q).double() + weight.mT @ weight / SCALE**2
        residual = (filled - layer.bias) * observed
        shift = (weight.mT @ residual.unsqueeze(-1) / SCALE**2).squeeze(-1)
        mean = torch.linalg.solve(precision, shift)
        return MultivariateNormal(mean, precision_matrix=precision)


@pytest.fixture
def make(config):
    def make_vae(exact=True):
        cfg = config("model.hidden=[]", "loss=gaussian", f"loss.scale={SCALE}", f"latent_dim={Q}")
        torch.manual_seed(1)

        vae = build_from_config(cfg.module.vae, shape=[D], missing=True).double()
        with torch.no_grad():
            vae.decoder.layers[-1].weight.normal_()
            vae.decoder.layers[-1].bias.normal_()
        if exact:
            vae.__class__ = ExactPosterior
        return vae.eval()

    return make_vae


@pytest.fixture
def rows():
    """Rows with 0 to 5 missing values."""
    x = torch.randn(6, D).double()
    for row in range(6):
        x[row, torch.randperm(D)[:row]] = torch.nan
    return x


def marginal(vae, row):
    """Return mean and covariance of p(x), and the mask of the observed entries."""
    layer = vae.decoder.layers[-1]
    covariance = layer.weight @ layer.weight.T + SCALE**2 * torch.eye(D).double()
    return layer.bias.detach(), covariance.detach(), ~row.isnan()


def conditional(vae, row):
    """Return mean and covariance of p(x_mis | x_obs)."""
    mean, covariance, seen = marginal(vae, row)
    gain = torch.linalg.solve(covariance[seen][:, seen], covariance[seen][:, ~seen]).T
    return (
        mean[~seen] + gain @ (row[seen] - mean[seen]),
        covariance[~seen][:, ~seen] - gain @ covariance[seen][:, ~seen],
    )


def test_bound_is_exact_with_the_exact_posterior(make, rows):
    vae = make()
    bound = importance_bound(vae, rows, 1)
    for row, value in zip(rows, bound, strict=True):
        mean, covariance, seen = marginal(vae, row)
        exact = 0.0
        if seen.any():
            p = MultivariateNormal(mean[seen], covariance[seen][:, seen])
            exact = p.log_prob(row[seen]).item()
        assert value.item() == pytest.approx(exact, abs=1e-9)


def test_exact_posterior_gives_equal_weights(make, rows):
    assert torch.allclose(impute(make(), rows, 50).effective_samples, torch.tensor(50.0).double())


def test_expected_values_are_those_of_the_exact_conditional(make, rows):
    vae, count = make(), 40_000
    result = impute(vae, rows, count)
    for row, filled in zip(rows, result.x, strict=True):
        seen = ~row.isnan()
        assert torch.equal(filled[seen], row[seen])
        if not seen.all():
            mean, covariance = conditional(vae, row)
            error = (filled[~seen] - mean).abs() / (covariance.diagonal() / count).sqrt()
            assert (error < 4).all()


def test_samples_have_mean_and_covariance_of_the_exact_conditional(make, rows):
    vae, count = make(), 20_000
    samples = impute(vae, rows, 20_000, samples=count).samples
    assert samples.shape == (6, count, D)
    for row, drawn in zip(rows, samples, strict=True):
        seen = ~row.isnan()
        assert torch.equal(drawn[:, seen], row[seen].expand(count, -1))
        if not seen.all():
            mean, covariance = conditional(vae, row)
            missing = drawn[:, ~seen]
            scale = covariance.diagonal().sqrt()
            assert ((missing.mean(0) - mean).abs() < 6 * scale / math.sqrt(count)).all()
            found = (missing - missing.mean(0)).T @ (missing - missing.mean(0)) / count
            assert ((found - covariance).abs() < 0.05 * scale.outer(scale)).all()


def test_log_density_of_missing_values_is_that_of_the_exact_conditional(make, rows):
    vae, truth = make(), rows.clone()
    for row in truth[1:]:
        row[row.isnan()] = conditional(vae, row)[0] + 0.2
    found = impute(vae, rows, 100_000, truth=truth).log_p_missing
    assert found[0] == pytest.approx(0, abs=1e-12)
    for row, whole, value in zip(rows[1:], truth[1:], found[1:], strict=True):
        mean, covariance = conditional(vae, row)
        exact = MultivariateNormal(mean, covariance).log_prob(whole[row.isnan()])
        assert value.item() == pytest.approx(exact.item(), abs=0.05)


def test_weights_are_those_of_miwae_written_out_and_do_not_depend_on_chunks(make, rows):
    """Equation 12 of Mattei and Frellsen (2019), row by row, with the q of an untrained encoder."""
    vae, count = make(exact=False), 7
    torch.manual_seed(5)
    result = impute(vae, rows, count)
    torch.manual_seed(5)
    q = vae.encode(rows)
    z = q.rsample((count,))
    layer = vae.decoder.layers[-1]
    for number, row in enumerate(rows):
        seen, weights, means = ~row.isnan(), [], []
        for k in range(count):
            mean = layer.weight @ z[k, number] + layer.bias
            log_w = Normal(mean[seen], SCALE).log_prob(row[seen]).sum()
            log_w += Normal(0.0, 1.0).log_prob(z[k, number]).sum()
            log_w -= Normal(q.mean[number], q.scale[number]).log_prob(z[k, number]).sum()
            weights.append(log_w.exp())
            means.append(mean)
        weight, mean = torch.stack(weights), torch.stack(means)
        expected = (weight.unsqueeze(-1) * mean).sum(0) / weight.sum()
        assert torch.allclose(result.x[number, ~seen], expected[~seen], rtol=1e-10)
        effective = weight.sum() ** 2 / weight.square().sum()
        assert result.effective_samples[number] == pytest.approx(effective.item(), rel=1e-10)


def test_chunks_change_the_noise_only(make, rows, monkeypatch):
    vae = make()
    monkeypatch.setattr(importance, "MAX_DECODER_OUTPUTS", 3 * rows.numel())
    assert torch.allclose(
        impute(vae, rows, 50, samples=2).effective_samples, torch.tensor(50.0).double()
    )
    mean = conditional(vae, rows[4])[0]
    found = impute(vae, rows, 5_000).x[4][rows[4].isnan()]
    assert torch.allclose(found, mean, atol=0.1)


def test_row_without_observed_values_gives_samples_of_the_model(make):
    vae, count = make(), 20_000
    row = torch.full((1, D), torch.nan).double()
    drawn = impute(vae, row, 20_000, samples=count).samples[0]
    mean, covariance, _ = marginal(vae, row[0])
    scale = covariance.diagonal().sqrt()
    assert importance_bound(vae, row, 3).item() == pytest.approx(0, abs=1e-12)
    assert ((drawn.mean(0) - mean).abs() < 6 * scale / math.sqrt(count)).all()
    assert ((drawn.T.cov() - covariance).abs() < 0.05 * scale.outer(scale)).all()


def test_model_of_complete_data_imputes_with_zeros_in_its_encoder(config, rows):
    cfg = config("model.hidden=[]", "loss=gaussian", f"loss.scale={SCALE}", f"latent_dim={Q}")
    vae = build_from_config(cfg.module.vae, shape=[D]).double().eval()
    torch.manual_seed(2)
    result = impute(vae, rows, 5)
    torch.manual_seed(2)
    z = vae.encode(rows.nan_to_num(0)).rsample((5,))
    assert result.x.isfinite().all()
    all_missing = vae.decode(z).mean[:, 5]
    log_w = (
        Normal(0.0, 1.0).log_prob(z[:, 5]).sum(-1)
        - vae.encode(rows.nan_to_num(0)).log_prob(z)[:, 5]
    )
    assert torch.allclose(result.x[5], (log_w.softmax(0).unsqueeze(-1) * all_missing).sum(0))
