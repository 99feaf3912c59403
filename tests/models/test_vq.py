import pytest
import torch

from vaelab.models.vq import Decoder, Encoder


def test_a_position_gives_the_numbers_of_its_own_place():
    """A change in one corner moves the codes near it: 2 convolutions of 2 see 3 places further."""
    encoder, x = Encoder((1, 28, 28), 49 * 3, channels=8, residual=4), torch.rand(1, 1, 28, 28)
    y = x.clone()
    y[..., :4, :4] += 1
    moved = (encoder(y) - encoder(x)).unflatten(1, (7, 7, 3)).abs().sum(-1)[0] > 1e-6
    assert moved[:2, :2].all()
    assert not moved[4:].any()
    assert not moved[:, 4:].any()


def test_the_decoder_puts_a_position_back_in_its_place():
    decoder, z = Decoder(49 * 3, (2, 28, 28), channels=8, residual=4), torch.randn(1, 49 * 3)
    other = z.clone()
    other[:, :3] += 1  # of the first position
    moved = (decoder(other) - decoder(z)).abs().sum(1)[0] > 1e-6
    assert moved[:4, :4].any()
    assert not moved[-6:].any()
    assert not moved[:, -6:].any()


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ((1, 28, 28), 20, r"7x7 positions.* 20 numbers.* multiple of 49"),
        ((1, 30, 28), 49, "multiples of 4, not 30x28"),
        ((5,), 49, r"data\.shape=\[5\]: use model=mlp"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(shape, size, words):
    for make in (lambda: Encoder(shape, size), lambda: Decoder(size, shape)):
        with pytest.raises(ValueError, match=words):
            make()


@pytest.mark.parametrize("setting", [{"channels": 0}, {"residual": 0}, {"blocks": -1}])
def test_an_impossible_setting_is_refused(setting):
    with pytest.raises(ValueError, match=rf"model\.{next(iter(setting))}="):
        Encoder((1, 28, 28), 49, **setting)
