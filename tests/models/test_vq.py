import pytest
import torch

from vaelab.models.vq import Decoder, Encoder


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
