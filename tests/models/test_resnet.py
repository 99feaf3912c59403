import pytest
import torch

from vaelab.models.resnet import Decoder, Encoder, Residual


@pytest.mark.parametrize("side", [28, 32, 64, 128])
def test_it_halves_and_doubles_28_to_128_pixels(side):
    shape = (3, side, side)
    assert Encoder(shape, 6, [4, 8], 1)(torch.randn(2, *shape)).shape == (2, 6)
    assert Decoder(3, shape, [4, 8], 1)(torch.randn(2, 3)).shape == (2, *shape)


@pytest.mark.parametrize("normalization", ["batch", "group", "none"])
def test_a_block_starts_as_the_identity_and_learns(normalization):
    block, h = Residual(6, "SiLU", normalization), torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(block(h), h)
    block(h).square().sum().backward()
    assert block.change[-1].weight.grad.abs().sum() > 0


def test_width_and_depth_can_be_chosen():
    one, two = (Encoder((1, 28, 28), 4, [8, 8], blocks) for blocks in (1, 2))
    assert len(two.stages) == len(one.stages) + 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": 0}, r"model\.blocks=\[0\]"),
        ({"normalization": "layer"}, r"model\.normalization=layer: choose from batch, group, none"),
        ({"activation": "relu"}, r"model\.activation=relu"),
    ],
)
def test_an_impossible_setting_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Encoder((1, 28, 28), 4, **settings)
