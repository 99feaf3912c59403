import pytest
import torch
from torch.distributions import constraints

from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config


@pytest.fixture
def vae(config):
    return RunParts.build(config("model.hidden=[16]", "latent_dim=5")).vae


def test_vae_returns_distributions(vae):
    q, p = vae.encode(torch.rand(3, 1, 28, 28)), vae.latents()
    assert (q.batch_shape, q.event_shape) == ((3,), (5,))
    assert (p.batch_shape, p.event_shape) == ((), (5,))
    assert vae.decode(p.sample((3,))).event_shape == (1, 28, 28)


def test_latents_may_have_any_leading_dimensions(vae):
    z = torch.randn(2, 3, 4, 5)
    p = vae.decode(z)
    assert p.batch_shape == (2, 3, 4)
    torch.testing.assert_close(p.mean[1, 2, 3], vae.decode(z[1, 2, 3]).mean)
    assert vae.decode(torch.randn(0, 5)).batch_shape == (0,)


def test_decoder_channels_follow_from_the_likelihood(config):
    run = RunParts.build(config("model=conv", "data=image_folder", "data.root=x", "loss=mse"))
    assert run.vae.decoder(torch.zeros(1, 20)).shape == (1, 3, 64, 64)


def test_initialize_sets_the_output_to_the_mean_image(vae):
    x = torch.rand(500, 1, 28, 28).round()
    before = vae.decode(torch.zeros(1, 5)).log_prob(x).mean()
    vae.initialize(x)
    assert vae.decode(torch.zeros(1, 5)).log_prob(x).mean() > before
    start = vae.decoder.layers[-1].bias.unflatten(0, (1, 28, 28))
    torch.testing.assert_close(torch.sigmoid(start), x.mean(0).clamp(0.001, 0.999))


def test_distributions_stay_float32_under_bf16_autocast(vae):
    x = torch.rand(3, 1, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        assert vae.encoder(x).dtype == torch.bfloat16
        q = vae.encode(x)
        p = vae.decode(q.rsample())
    assert q.mean.dtype == p.mean.dtype == torch.float32


def test_autocast_can_be_restricted_to_the_networks(vae):
    x, dtypes = torch.rand(3, 1, 28, 28), []
    for network in (vae.encoder, vae.decoder):
        network.register_forward_hook(lambda _, __, out: dtypes.append(out.dtype))
    weight = torch.eye(5)
    with torch.autocast("cpu", torch.bfloat16), vae.autocast_networks_only("cpu"):
        z = vae.encode(x).rsample() @ weight  # autocast would round this product
        assert vae.decode(z).log_prob(x.round()).dtype == z.dtype == torch.float32
    assert dtypes == [torch.bfloat16] * 2
    vae.decode(z)
    assert dtypes[-1] == torch.float32


def test_float64_is_preserved(vae):
    assert vae.double().encode(torch.rand(3, 1, 28, 28).double()).mean.dtype == torch.float64


def test_different_supports_are_refused(config):
    class Spherical(torch.nn.Module):
        support = constraints.unit_interval

    with pytest.raises(ValueError, match=r"the posterior lives on .* prior on .* choose a prior="):
        build_from_config(config().module.vae, shape=[1, 28, 28], prior=lambda *_: Spherical())


@pytest.mark.parametrize("size", [0, -3])
def test_latent_dim_below_1_is_refused(config, size):
    with pytest.raises(ValueError, match=f"latent_dim={size}: it must be at least 1"):
        RunParts.build(config(f"latent_dim={size}"))


LOSSES = ["bce", "mse", "gaussian", "laplace", "student_t", "continuous_bernoulli"]


@pytest.mark.parametrize("model", ["mlp", "conv"])
@pytest.mark.parametrize("loss", LOSSES)
def test_random_latents_cost_little_after_initialize(config, loss, model):
    run = RunParts.build(config(f"loss={loss}", f"model={model}"))
    x = torch.rand(300, 1, 28, 28).square()
    x = x.round() if loss == "bce" else x
    z = torch.randn(300, 20)
    before = run.vae.decode(z).log_prob(x).mean()
    run.vae.initialize(x)
    cost = run.vae.decode(0 * z).log_prob(x).mean() - run.vae.decode(z).log_prob(x).mean()
    assert -0.5 < cost < 4.0
    assert run.vae.decode(z).log_prob(x).mean() > before


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "gaussian", "student_t"])
def test_two_hidden_layers_with_a_density_do_not_collapse(train, loss):
    words = [f"loss={loss}", "data.binarize=none", "data.dequantize=true", "latent_dim=40"]
    words += ["model.hidden=[300,300]", "trainer.limit_train_batches=1.0"]
    assert train(*words, "trainer.max_epochs=20")["kl"] > 1.0
