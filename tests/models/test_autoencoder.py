"""model=autoencoder has the layers of diffusers' AutoencoderKL, and its latents form a grid."""

import pytest
import torch

from vaelab.distributions.grid import grid_to_vector, vector_to_grid
from vaelab.models.autoencoder import Decoder, Encoder, LatentSize, count_groups
from vaelab.posteriors.clamped import Clamped
from vaelab.runtime.build import build_from_config
from vaelab.runtime.errors import UserError


def test_grid_holds_the_latents_of_one_position_after_another():
    z, shape = torch.arange(2 * 24).reshape(2, 24), (4, 2, 3)
    maps = vector_to_grid(z, shape)
    assert maps.shape == (2, *shape)
    for c, row, column in ((0, 0, 0), (3, 0, 0), (0, 0, 1), (1, 1, 2)):
        assert maps[0, c, row, column] == (row * 3 + column) * 4 + c
    assert torch.equal(grid_to_vector(maps, shape), z)
    assert torch.equal(vector_to_grid(z, (24,)), z)
    assert torch.equal(grid_to_vector(z, (24,)), z)


def test_number_of_weights_is_that_of_the_autoencoder_of_stable_diffusion():
    """It has 83,653,863 parameters: four levels, two blocks each, latents of 4 channels."""
    settings = {"channels": [128, 256, 512, 512], "layers": 2}
    with torch.device("meta"):
        encoder = Encoder((3, 512, 512), 2 * 4 * 64 * 64, latents=4, **settings)
        decoder = Decoder(4 * 64 * 64, (3, 512, 512), **settings)
    counts = [sum(w.numel() for w in part.parameters()) for part in (encoder, decoder)]
    assert sum(counts) == 83_653_863


def test_encoder_outputs_all_means_and_then_all_log_variances():
    encoder, outputs = Encoder((1, 8, 12), 2 * 3 * 6, latents=3, channels=[4, 8, 8]), []
    encoder.quant_conv.register_forward_hook(lambda *call: outputs.append(call[-1]))
    mean, log_variance = encoder(torch.rand(5, 1, 8, 12)).chunk(2, -1)
    assert outputs[0].shape == (5, 6, 2, 3)
    assert torch.equal(vector_to_grid(mean, encoder.maps_shape), outputs[0][:, :3])
    assert torch.equal(vector_to_grid(log_variance, encoder.maps_shape), outputs[0][:, 3:])


def test_clamped_posterior_takes_log_variances():
    out = torch.tensor([[1.0, 2.0, 3.0, -4.0, 20.0, -30.0]], requires_grad=True)
    q = Clamped(3, bound=7.0)(out)
    assert torch.equal(q.mean, out[:, :3])
    torch.testing.assert_close(q.variance.log(), torch.tensor([[-4.0, 14.0, -14.0]]))
    q.variance.log().sum().backward()
    torch.testing.assert_close(out.grad, torch.tensor([[0.0, 0, 0, 1, 0, 0]]))


@pytest.mark.parametrize(
    ("channels", "most", "groups"),
    [
        ([128, 256, 512], 32, 32),
        ([32, 64], 4, 4),
        ([12, 24], 32, 12),
        ([48, 96], 32, 24),
        ([10, 15], 32, 5),
        ([3, 4], 32, 1),
    ],
)
def test_groups_divide_the_channels_of_every_level(channels, most, groups):
    assert count_groups(channels, most) == groups


@pytest.mark.parametrize(
    ("words", "shape", "latent_shape"),
    [
        (("model=autoencoder", "model.channels=[4,8]"), (1, 28, 28), (4, 14, 14)),
        (("model=autoencoder", "model.channels=[4,8,8,8,8]"), (3, 64, 32), (4, 4, 2)),
        (("model=autoencoder", "model.channels=[4,8]", "model.latents=3"), (3, 6, 10), (3, 3, 5)),
        (("model=vq", "model.channels=4"), (1, 28, 28), (64, 7, 7)),
        (
            ("model=vq", "model.channels=4", "latent_dim=98", "posterior.dim=2"),
            (1, 28, 28),
            (2, 7, 7),
        ),
        (("model=conv", "latent_dim=5"), (1, 28, 28), (5,)),
        (("model=ladder_conv",), (1, 28, 28), (294,)),
    ],
)
def test_model_and_prior_know_the_shape_of_the_latents(config, words, shape, latent_shape):
    vae = build_from_config(config(*words).module.vae, shape=list(shape))
    assert vae.latent_shape == vae.prior.latent_shape == latent_shape
    x = torch.rand(2, *shape)
    maps = vector_to_grid(vae.eval().encode(x).mode, latent_shape)
    assert maps.shape == (2, *latent_shape)
    assert vae.decode(grid_to_vector(maps, latent_shape)).mean.shape == x.shape


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        ((1, 30, 28), [4, 4, 4], r"by 4, which does not divide 30x28.* 28x28 or 32x28"),
        ((1, 3, 28), [4, 4, 4], r"does not divide 3x28: resize the images to 4x28"),
        ((1, 28, 28), [4], r"channels=\[4\] has 1 levels.* name 2 to 5 numbers"),
        ((1, 64, 64), [4] * 6, r"name 2 to 5 numbers"),
        ((2, 20), [4, 4], r"images \(C, H, W\), but data\.shape=\[2, 20\]"),
        ((1, 8, 8), [4, 0], r"model\.channels="),
    ],
)
def test_sizes_that_the_factor_does_not_divide_are_refused(shape, channels, message):
    builders = (
        lambda: Encoder(shape, 8, channels=channels),
        lambda: Decoder(4, shape, channels=channels),
        lambda: LatentSize(4, channels)(shape),
    )
    for build in builders:
        with pytest.raises(UserError, match=message):
            build()


@pytest.mark.parametrize("setting", [{"layers": 0}, {"groups": 0}])
def test_invalid_settings_are_refused(setting):
    with pytest.raises(UserError, match=rf"model\.{next(iter(setting))}="):
        Encoder((1, 8, 8), 2 * 4 * 4, channels=[4, 4, 4], **setting)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("latent_dim=20",), r"4x14x14 latents, and the 40 parameters .* leave latent_dim out"),
        (("latent_dim=196",), "leave latent_dim out"),
        (("posterior=full", "model.latents=1"), "posterior=clamped, diagonal or vq"),
    ],
)
def test_parameters_that_do_not_fit_the_grid_are_refused(config, words, message):
    node = config("model=autoencoder", "model.channels=[4,8]", *words).module.vae
    with pytest.raises(UserError, match=message):
        build_from_config(node, shape=[1, 28, 28])


def test_codes_have_one_position_each(config):
    words = ("model=autoencoder", "model.channels=[4,8]", "posterior=vq", "prior=pixelcnn")
    node = config(*words, "objective=vq").module.vae
    vae = build_from_config(node, shape=[1, 28, 28])
    vae.decoder.check_codes(4)
    assert vae.prior.grid == (14, 14)
    with pytest.raises(UserError, match=r"model\.latents=4 .* set model\.latents=3"):
        vae.decoder.check_codes(3)
