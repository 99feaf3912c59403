"""What base.py promises, for every file of conf/model."""

import pytest
import torch
from conftest import options


def positions(model, shape):
    """Among how many places a code must be shared out."""
    return shape[1] * shape[2] // 16 if model == "vq" else 1


@pytest.mark.parametrize("model", options("model"))
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 64, 64)])
def test_it_takes_every_picture_size(config, model, shape):
    from vaelab.run import build

    choice = config(f"model={model}").model
    n = positions(model, shape)
    encoder, decoder = build(choice.encoder)(shape, 6 * n), build(choice.decoder)(3 * n, shape)
    assert encoder(torch.rand(2, *shape)).shape == (2, 6 * n)
    assert decoder(torch.randn(2, 3 * n)).shape == (2, *shape)


@pytest.mark.parametrize("model", options("model"))
def test_the_decoder_can_start_at_a_given_output(config, model):
    from vaelab.run import build

    shape = (3, 8, 8)
    size = 2 * positions(model, shape)
    decoder = build(config(f"model={model}").model.decoder)(size, shape)
    z = torch.randn(9, size)
    before = decoder(z)
    start = torch.tensor([100.0, -200.0, 300.0])[:, None, None].expand(shape)
    decoder.initialize(start)
    assert (decoder(z) - start - before).abs().max() < 2  # the bias that was there


@pytest.mark.parametrize("model", options("model"))
def test_outputs_are_raw_and_every_weight_gets_a_gradient(config, model):
    from vaelab.run import Run

    vae = Run.build(config(f"model={model}")).vae
    out = vae.decoder(1e3 * torch.randn(16, vae.latent_dim))
    assert out.max() > 1
    assert out.min() < -1
    (vae.decode(vae.encode(torch.rand(4, 1, 28, 28)).rsample()).mean.sum()).backward()
    assert all(weight.grad is not None for weight in vae.parameters())
