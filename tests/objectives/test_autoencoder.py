"""Test the plain autoencoder: its loss, its metrics, and the settings that it refuses."""

import pytest
import torch

from vaelab.runs.run import RunParts

CHOICES = ("posterior=deterministic", "objective=autoencoder", "model.hidden=[8]")


def test_loss_is_the_reconstruction_alone(config):
    run = RunParts.build(config(*CHOICES))
    x = torch.rand(4, 1, 28, 28).round()
    terms = run.module.objective(run.vae, x, 0)
    assert set(terms) == {"loss", "reconstruction", "log_p"}
    expected = -run.vae.decode(run.vae.encode(x).mean).log_prob(x)
    torch.testing.assert_close(terms["loss"], expected)


def test_elbo_refuses_a_posterior_without_density(config):
    with pytest.raises(ValueError, match=r"posterior with a density.* set objective=autoencoder"):
        RunParts.build(config("posterior=deterministic"))


@pytest.mark.parametrize("prior", ["mixture", "vamp", "flow"])
def test_learned_prior_is_refused(config, prior):
    with pytest.raises(ValueError, match=r"would train the prior .*set prior=normal"):
        RunParts.build(config(*CHOICES, f"prior={prior}"))


def test_metrics_contain_no_bound(train):
    numbers = train(*CHOICES)
    assert numbers["val_log_p"] == numbers["best"]
    assert not {"elbo", "kl", "nll", "bits_per_dim", "kl_per_dimension"} & numbers.keys()
    assert numbers["reconstruction"] > 0
    assert numbers["active_units"] <= 20


@pytest.mark.parametrize("choice", ["kl=warmup", "kl.beta=4"])
def test_kl_weight_without_a_kl_is_refused(train, choice):
    with pytest.raises(ValueError, match="no weighted KL term"):
        train(*CHOICES, choice)


def test_early_stopping_uses_the_monitored_metric(train):
    numbers = train(*CHOICES, "callbacks=[default,early_stopping]")
    assert numbers["steps"] > 0
    assert numbers["monitor"] == "val/log_p"
