from typing import Any

import pytest
import torch

from vaelab.models.residual_mlp import Decoder, Encoder, ResidualBlock


def test_networks_accept_any_shape():
    for shape in ((1, 8, 6), (5,)):
        assert Encoder(shape, 6, 10, 1)(torch.randn(2, *shape)).shape == (2, 6)
        assert Decoder(3, shape, 10, 1)(torch.randn(2, 3)).shape == (2, *shape)


def test_block_is_the_identity_at_first_and_has_gradients():
    block, h = ResidualBlock(6, "SiLU", 0.0), torch.randn(2, 6)
    torch.testing.assert_close(block(h), h)
    block(h).square().sum().backward()
    last: Any = block.change[-1]
    assert last.weight.grad.abs().sum() > 0


def test_dropout_is_active_in_training_only():
    block, h = ResidualBlock(50, "SiLU", 0.5), torch.randn(2, 50)
    last: Any = block.change[-1]
    torch.nn.init.normal_(last.weight)
    assert not torch.equal(block(h), block(h))
    block.eval()
    torch.testing.assert_close(block(h), block(h))


def test_blocks_set_the_depth():
    shallow, deep = (Encoder((4,), 4, 8, blocks) for blocks in (1, 2))
    assert len(deep.layers) == len(shallow.layers) + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": 0}, r"model\.blocks=\[0\]"),
        ({"width": 0}, r"model\.width=\[0\]"),
        ({"activation": "relu"}, r"model\.activation=relu"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Encoder((1, 28, 28), 4, **settings)
