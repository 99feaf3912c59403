"""The contract of models/base.py, for every file of conf/model."""

import pytest
import torch
from conftest import options

from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config

OPTIONS = options("model")


@pytest.fixture
def vae(config):
    """A function that builds the model of a yaml file, conditioned on labels if it needs them."""

    def make(option, shape, images, *words):
        if option == "vq":
            words = ("model.channels=16", *words)
        cfg = config(f"model={option}", *words)
        vae = build_from_config(cfg.module.vae, shape=list(shape))
        return vae.condition_on(torch.arange(images) % 10)

    return make


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 64, 64)])
def test_models_accept_every_image_size(vae, option, shape):
    vae = vae(option, shape, 2)
    z = vae.encode(torch.rand(2, *shape)).rsample()
    assert z.shape == (2, vae.latent_dim)
    assert vae.decode(z).mean.shape == (2, *shape)
    p = vae.latents()
    assert (p.batch_shape, p.event_shape) == ((), (vae.latent_dim,))


@pytest.mark.parametrize("option", OPTIONS)
def test_several_samples_are_decoded_like_single_ones(vae, option):
    vae = vae(option, (1, 28, 28), 4).eval()
    with torch.no_grad():
        q = vae.encode(torch.rand(4, 1, 28, 28))
        z = q.sample(torch.Size([3]))
        mean, log_p = vae.decode(z).mean, vae.latents().log_prob(z)
        assert (mean.shape, log_p.shape) == ((3, 4, 1, 28, 28), (3, 4))
        assert q.log_prob(z).shape == (3, 4)
        for number in range(3):
            single = z[number].clone()
            torch.testing.assert_close(vae.decode(single).mean, mean[number], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(
                vae.latents().log_prob(single), log_p[number], rtol=1e-4, atol=1e-4
            )
            torch.testing.assert_close(
                q.log_prob(single), q.log_prob(z)[number], rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("option", OPTIONS)
def test_decoder_initialize_sets_the_mean_output(vae, option):
    shape = (3, 8, 8)
    vae = vae(option, shape, 9, "loss=mse").eval()
    z = vae.latents().sample(torch.Size([9]))
    before = vae.decode(z).mean
    start = torch.tensor([100.0, -200.0, 300.0])[:, None, None].expand(shape)
    vae.decoder.initialize(start)
    z = z.clone()
    assert (vae.decode(z).mean - start - before).abs().max() < 2  # the initial bias


@pytest.mark.parametrize("option", OPTIONS)
def test_scaling_output_weights_scales_the_dependence_on_z(vae, option):
    vae = vae(option, (1, 8, 8), 9, "loss=mse").eval()
    z = vae.latents().sample(torch.Size([9]))
    spread = vae.decode(z).mean.std(0).mean()
    vae.decoder.scale_output_weights(0.1)
    torch.testing.assert_close(vae.decode(z.clone()).mean.std(0).mean(), 0.1 * spread)


@pytest.mark.parametrize("option", OPTIONS)
def test_decoder_outputs_are_unbounded(vae, option):
    vae = vae(option, (1, 28, 28), 16, "loss=mse")
    out = vae.decode(1e3 * torch.randn(16, vae.latent_dim)).mean
    assert out.max() > 1
    assert out.min() < -1


@pytest.mark.parametrize("option", OPTIONS)
def test_every_weight_gets_a_gradient(config, option):
    run = RunParts.build(config(f"model={option}"))
    batch = torch.rand(8, 1, 28, 28).round(), torch.arange(8)
    with run.vae.autocast_networks_only("cpu"):
        terms = run.module.objective(run.vae.condition_on(batch[1]), batch[0], 0)
    terms["loss"].mean().backward()
    for name, weight in run.vae.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
