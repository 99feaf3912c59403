import pytest
import torch

from vaelab.models.resnet import Decoder, Encoder, ResidualBlock


@pytest.mark.parametrize("side", [28, 32, 64, 128])
def test_networks_accept_28_to_128_pixels(side):
    shape = (3, side, side)
    assert Encoder(shape, 6, [4, 8], 1)(torch.randn(2, *shape)).shape == (2, 6)
    assert Decoder(3, shape, [4, 8], 1)(torch.randn(2, 3)).shape == (2, *shape)


@pytest.mark.parametrize("normalization", ["batch", "group", "none"])
def test_block_is_the_identity_at_first_and_has_gradients(normalization):
    block, h = ResidualBlock(2, 6, "SiLU", normalization), torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(block(h), h)
    block(h).square().sum().backward()
    assert block.change[-1].weight.grad.abs().sum() > 0


def test_blocks_set_the_depth():
    shallow, deep = (Encoder((1, 28, 28), 4, [8, 8], blocks) for blocks in (1, 2))
    assert len(deep.stages) == len(shallow.stages) + 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": 0}, r"model\.blocks=\[0\]"),
        ({"normalization": "layer"}, r"model\.normalization=layer: choose from batch, group, none"),
        ({"activation": "relu"}, r"model\.activation=relu"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Encoder((1, 28, 28), 4, **settings)
