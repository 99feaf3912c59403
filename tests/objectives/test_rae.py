"""Test the regularised autoencoder and its three regularizers."""

import pytest
import torch

from vaelab.objectives.rae import RAE
from vaelab.runs.run import RunParts

LAYERS = (torch.nn.Linear, torch.nn.ConvTranspose2d)


def build_run(config, *words):
    words = ["objective=rae", "posterior=deterministic", "latent_dim=3", *words]
    return RunParts.build(config(*words))


def compute_terms(run, count=6):
    x = torch.rand(count, 1, 28, 28).round().to(next(run.vae.parameters()))
    return run.module.objective(run.vae, x, 0)


def test_loss_equals_its_definition(config):
    words = ["objective.embedding=2", "objective.weight=3", "model.hidden=[8]"]
    run = build_run(config, *words)
    terms = compute_terms(run)
    squares = sum(weight.square().sum() for weight in run.vae.decoder.parameters()) / 2
    torch.testing.assert_close(terms["smoothness"], squares)
    expected = terms["reconstruction"] + 2 * terms["embedding"] + 3 * squares
    torch.testing.assert_close(terms["loss"], expected)


def test_gradient_penalty_is_half_the_squared_norm_of_the_jacobian(config):
    words = ["objective.regularizer=gradient_penalty", "model.hidden=[8]", "loss=mse"]
    run = build_run(config, *words)
    x = torch.rand(2, 1, 28, 28)
    z = run.vae.encode(x).mean
    exact = []
    for latent in z:
        jacobian = torch.autograd.functional.jacobian(
            lambda z: run.vae.decode(z.unsqueeze(0)).mean, latent
        )
        exact.append(jacobian.square().sum() / 2)
    repeated = x.repeat_interleave(4000, 0)
    terms = run.module.objective(run.vae, repeated, 0)
    estimates = terms["smoothness"].reshape(2, 4000)
    error = estimates.std(1) / 4000**0.5
    assert ((estimates.mean(1) - torch.stack(exact)).abs() < 4 * error).all()


def test_gradient_penalty_trains_the_decoder_and_works_in_inference_mode(config):
    run = build_run(config, "objective.regularizer=gradient_penalty", "model=conv")
    compute_terms(run)["smoothness"].mean().backward()
    first = next(run.vae.decoder.parameters())
    assert first.grad.abs().sum() > 0
    with torch.inference_mode():
        assert compute_terms(run)["smoothness"].mean() > 0


@pytest.mark.parametrize("model", ["resnet", "residual_mlp"])
@pytest.mark.parametrize("regularizer", ["gradient_penalty", "spectral_norm"])
def test_regularizers_work_with_residual_decoders(config, model, regularizer):
    words = [f"objective.regularizer={regularizer}", f"model={model}", "loss=mse"]
    terms = compute_terms(build_run(config, *words, "data.binarize=none"))
    terms["loss"].mean().backward()
    assert terms["loss"].isfinite().all()


@pytest.mark.parametrize("model", ["mlp", "conv"])
def test_spectral_norm_of_every_decoder_layer_is_1(config, model):
    run = build_run(config, "objective.regularizer=spectral_norm", f"model={model}")
    for _ in range(50):  # each call runs one power iteration
        terms = compute_terms(run)
    assert terms["smoothness"] == 0
    layers = [layer for layer in run.vae.decoder.modules() if isinstance(layer, LAYERS)]
    assert len(layers) >= 2
    for layer in layers:
        weight = layer.weight
        if isinstance(layer, torch.nn.ConvTranspose2d):
            weight = weight.transpose(0, 1)
        largest = torch.linalg.matrix_norm(weight.flatten(1), 2)
        assert largest.item() == pytest.approx(1, abs=0.05)


def test_run_with_spectral_norm_can_be_opened(train):
    words = ["objective=rae", "posterior=deterministic", "objective.regularizer=spectral_norm"]
    numbers = train(*words, "model.hidden=[8]")
    run = RunParts.open(numbers["folder"])
    assert any("parametrizations" in name for name, _ in run.vae.decoder.named_parameters())


def test_loss_without_regularizers_is_the_reconstruction(config):
    words = ["objective.regularizer=none", "objective.embedding=0", "model.hidden=[8]"]
    terms = compute_terms(build_run(config, *words))
    torch.testing.assert_close(terms["loss"], terms["reconstruction"])


def test_unknown_regularizer_raises_with_the_options(train):
    with pytest.raises(ValueError, match="l2"):
        train("objective=rae", "posterior=deterministic", "objective.regularizer=dropout")
    assert RAE().regularizer == "l2"
