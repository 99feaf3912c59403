import pytest
import torch
from torch import nn

from vaelab.models.mlp import Decoder, Encoder


def test_default_layers_are_784_400_20():
    encoder, decoder = Encoder((1, 28, 28), 40), Decoder(20, (1, 28, 28))
    sizes = [(layer.in_features, layer.out_features) for layer in encoder.layers[::2]]
    assert sizes == [(784, 400), (400, 40)]
    sizes = [(layer.in_features, layer.out_features) for layer in decoder.layers[::2]]
    assert sizes == [(20, 400), (400, 784)]


def test_decoder_mirrors_the_encoder():
    decoder = Decoder(5, (1, 2, 2), hidden=[30, 10])
    assert [layer.out_features for layer in decoder.layers[::2]] == [10, 30, 4]


def test_decoder_without_hidden_layers_is_affine():
    decoder = Decoder(3, (1, 2, 2), hidden=[])
    u, v, zero = torch.randn(1, 3), torch.randn(1, 3), torch.zeros(1, 3)
    torch.testing.assert_close(decoder(u + v) + decoder(zero), decoder(u) + decoder(v))


def test_activation_is_chosen_by_its_torch_name():
    assert isinstance(Encoder((4,), 2, activation="Tanh").layers[1], nn.Tanh)
    with pytest.raises(ValueError, match=r"model\.activation=relu: choose from .*ReLU"):
        Encoder((4,), 2, activation="relu")


def test_zero_width_is_refused():
    with pytest.raises(ValueError, match=r"model\.hidden=\[0\]"):
        Encoder((4,), 2, hidden=[0])
