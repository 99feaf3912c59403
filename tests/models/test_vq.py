import math

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from vaelab.models.vq import Decoder, Encoder
from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config


def test_encoder_outputs_are_ordered_by_position():
    """A change in one corner changes only outputs of nearby positions, in the receptive field."""
    encoder, x = Encoder((1, 28, 28), 49 * 3, channels=8, residual=4), torch.rand(1, 1, 28, 28)
    y = x.clone()
    y[..., :4, :4] += 1
    is_changed = (encoder(y) - encoder(x)).unflatten(1, (7, 7, 3)).abs().sum(-1)[0] > 1e-6
    assert is_changed[:2, :2].all()
    assert not is_changed[4:].any()
    assert not is_changed[:, 4:].any()


def test_decoder_inputs_are_ordered_by_position():
    decoder, z = Decoder(49 * 3, (2, 28, 28), channels=8, residual=4), torch.randn(1, 49 * 3)
    other = z.clone()
    other[:, :3] += 1  # the first position
    is_changed = (decoder(other) - decoder(z)).abs().sum(1)[0] > 1e-6
    assert is_changed[:4, :4].any()
    assert not is_changed[-6:].any()
    assert not is_changed[:, -6:].any()


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((1, 28, 28), 20, r"7x7 positions.* 20 numbers.* multiple of 49"),
        ((1, 30, 28), 49, "multiples of 4, not 30x28"),
        ((5,), 49, r"data\.shape=\[5\]: use model=mlp"),
    ],
)
def test_sizes_that_do_not_match_the_grid_are_refused(shape, size, message):
    for build in (lambda: Encoder(shape, size), lambda: Decoder(size, shape)):
        with pytest.raises(ValueError, match=message):
            build()


@pytest.mark.parametrize("setting", [{"channels": 0}, {"residual": 0}, {"blocks": -1}])
def test_invalid_settings_are_refused(setting):
    with pytest.raises(ValueError, match=rf"model\.{next(iter(setting))}="):
        Encoder((1, 28, 28), 49, **setting)


@pytest.mark.parametrize(
    ("shape", "words", "latent_dim", "codes"),
    [
        ((1, 28, 28), (), 3136, 49),
        ((3, 32, 32), (), 4096, 64),
        ((1, 64, 32), (), 8192, 128),
        ((3, 32, 32), ("model.dim=16",), 1024, 64),
        ((3, 32, 32), ("posterior.dim=32",), 4096, 128),
    ],
)
@pytest.mark.parametrize("prior", ["codes", "pixelcnn"])
def test_the_grid_follows_from_the_shape(config, shape, words, latent_dim, codes, prior):
    cfg = config("model=vq", f"prior={prior}", "model.channels=4", *words)
    vae = build_from_config(cfg.module.vae, shape=list(shape))
    vae.decoder.check_codes(vae.posterior.dim)
    assert vae.latent_dim == latent_dim
    q, p = vae.encode(torch.rand(2, *shape)), vae.latents()
    assert q.indices.shape == (2, codes)
    if prior == "codes":
        kl = -p.log_prob(vae.posterior.codebook[q.indices].flatten(1))
        torch.testing.assert_close(kl, torch.full((2,), codes * math.log(512)))
    else:
        assert vae.prior.grid == (shape[1] // 4, shape[2] // 4) or codes != latent_dim // 64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("latent_dim=3136",), r"latent_dim=3136 gives 49 latents .* 8x8 .* set latent_dim=4096"),
        (("latent_dim=2048",), r"posterior\.dim=64"),
        (("posterior.dim=48",), r"latent_dim=4096 must be a multiple|is not a multiple"),
        (("latent_dim=128",), r"gives 2 latents .* leave latent_dim out"),
    ],
)
def test_codes_that_would_straddle_positions_are_refused_before_the_training(
    train, tmp_path, words, message
):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((20, 3, 32, 32)))
    words = ("data=arrays", f"data.path={tmp_path}/x.npz", "model.channels=4", *words)
    with pytest.raises(ValueError, match=message):
        train("model=vq", "loss=mse", *words)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_several_codes_at_one_position_can_be_set(config):
    cfg = config("model=vq", "latent_dim=8192", "model.channels=4")
    build_from_config(cfg.module.vae, shape=[3, 32, 32]).decoder.check_codes(64)


def test_derived_size_is_recorded_and_opened(finished_run):
    run = finished_run("model=vq", "model.channels=4")
    record = OmegaConf.load(run["folder"] / ".hydra" / "config.yaml")
    assert record.latent_dim == 3136
    assert RunParts.open(run["folder"], with_data=False).vae.latent_dim == 3136


def test_model_without_a_grid_needs_a_number(config):
    cfg = config("latent_dim=null", "model.hidden=[4]")
    with pytest.raises(ValueError, match="latent_dim=null: this model needs a number"):
        build_from_config(cfg.module.vae, shape=[1, 8, 8])
