import pytest
import torch

from vaelab.objectives.rae import RAE
from vaelab.runs.run import Run

LAYERS = (torch.nn.Linear, torch.nn.ConvTranspose2d)


def run(config, *words):
    words = ["objective=rae", "posterior=deterministic", "latent_dim=3", *words]
    return Run.build(config(*words))


def terms_of(found, count=6):
    x = torch.rand(count, 1, 28, 28).round().to(next(found.vae.parameters()))
    return found.module.objective(found.vae, x, 0)


def test_its_loss_is_written_out(config):
    words = ["objective.embedding=2", "objective.weight=3", "model.hidden=[8]"]
    found = run(config, *words)
    terms = terms_of(found)
    squares = sum(weight.square().sum() for weight in found.vae.decoder.parameters()) / 2
    torch.testing.assert_close(terms["smoothness"], squares)
    expected = terms["reconstruction"] + 2 * terms["embedding"] + 3 * squares
    torch.testing.assert_close(terms["loss"], expected)


def test_the_gradient_penalty_is_the_squared_norm_of_the_jacobian(config):
    words = ["objective.regularizer=gradient_penalty", "model.hidden=[8]", "loss=mse"]
    found = run(config, *words)
    x = torch.rand(2, 1, 28, 28)
    z = found.vae.encode(x).mean
    exact = []
    for each in z:
        jacobian = torch.autograd.functional.jacobian(
            lambda z: found.vae.decode(z.unsqueeze(0)).mean, each
        )
        exact.append(jacobian.square().sum() / 2)
    repeated = x.repeat_interleave(4000, 0)
    terms = found.module.objective(found.vae, repeated, 0)
    estimates = terms["smoothness"].reshape(2, 4000)
    error = estimates.std(1) / 4000**0.5
    assert ((estimates.mean(1) - torch.stack(exact)).abs() < 4 * error).all()


def test_the_gradient_penalty_teaches_the_decoder_and_works_in_validation(config):
    found = run(config, "objective.regularizer=gradient_penalty", "model=conv")
    terms_of(found)["smoothness"].mean().backward()
    first = next(found.vae.decoder.parameters())
    assert first.grad.abs().sum() > 0
    with torch.inference_mode():
        assert terms_of(found)["smoothness"].mean() > 0


@pytest.mark.parametrize("model", ["resnet", "residual_mlp"])
@pytest.mark.parametrize("regularizer", ["gradient_penalty", "spectral_norm"])
def test_residual_decoders_are_kept_smooth_too(config, model, regularizer):
    words = [f"objective.regularizer={regularizer}", f"model={model}", "loss=mse"]
    terms = terms_of(run(config, *words, "data.binarize=none"))
    terms["loss"].mean().backward()
    assert terms["loss"].isfinite().all()


@pytest.mark.parametrize("model", ["mlp", "conv"])
def test_spectral_norm_bounds_every_layer_of_the_decoder(config, model):
    found = run(config, "objective.regularizer=spectral_norm", f"model={model}")
    for _ in range(50):  # a power iteration in each
        terms = terms_of(found)
    assert terms["smoothness"] == 0
    layers = [each for each in found.vae.decoder.modules() if isinstance(each, LAYERS)]
    assert len(layers) >= 2
    for layer in layers:
        weight = layer.weight
        if isinstance(layer, torch.nn.ConvTranspose2d):
            weight = weight.transpose(0, 1)
        largest = torch.linalg.matrix_norm(weight.flatten(1), 2)
        assert largest.item() == pytest.approx(1, abs=0.05)


def test_a_run_with_spectral_norm_opens_again(train):
    words = ["objective=rae", "posterior=deterministic", "objective.regularizer=spectral_norm"]
    numbers = train(*words, "model.hidden=[8]")
    again = Run.open(numbers["folder"])
    assert any("parametrizations" in name for name, _ in again.vae.decoder.named_parameters())


def test_without_regularizers_it_is_the_autoencoder(config):
    words = ["objective.regularizer=none", "objective.embedding=0", "model.hidden=[8]"]
    terms = terms_of(run(config, *words))
    torch.testing.assert_close(terms["loss"], terms["reconstruction"])


def test_an_unknown_regularizer_gets_the_list(train):
    with pytest.raises(ValueError, match="l2"):
        train("objective=rae", "posterior=deterministic", "objective.regularizer=dropout")
    assert RAE().regularizer == "l2"
