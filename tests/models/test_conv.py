import pytest
import torch

from vaelab.models.conv import Decoder, Encoder

SIZES = [(28, [8, 16]), (32, [4, 8, 16]), (64, [4, 4, 4, 4]), (128, [2, 2, 2, 2, 2])]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "widths"), SIZES)
@pytest.mark.parametrize("kernel_size", [2, 4, 6])
def test_convolutions_halve_and_double_even_sizes(channels, side, widths, kernel_size):
    shape, x = (channels, side, side), torch.randn(2, channels, side, side)
    encoder = Encoder(shape, 6, widths, kernel_size)
    assert encoder.stages(x).shape[2:] == (side // 2 ** len(widths),) * 2
    assert encoder(x).shape == (2, 6)
    assert Decoder(3, shape, widths, kernel_size)(torch.randn(2, 3)).shape == x.shape


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 30, 25), (1, 9, 8)])
def test_decoder_restores_odd_sizes(shape, kernel_size):
    encoder = Encoder(shape, 6, [4, 4, 4], kernel_size)
    decoder = Decoder(3, shape, [4, 4, 4], kernel_size)
    assert encoder.stages(torch.randn(2, *shape)).shape[1:] == decoder.inside
    assert encoder(torch.randn(2, *shape)).shape == (2, 6)
    assert decoder(torch.randn(2, 3)).shape == (2, *shape)


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        (
            (1, 28, 20),
            {"channels": [8] * 6},
            r"model\.channels=\[8, 8, 8, 8, 8, 8\] .* 28x20 .* at most 4 times: use at most 4",
        ),
        ((784,), {}, r"data\.shape=\[784\]: set data\.shape=\[1,28,28\] .* or use model=mlp"),
        ((3072,), {}, r"set data\.shape=\[3,32,32\]"),
        ((5,), {}, r"data\.shape=\[5\]: use model=mlp"),
        ((2, 1, 8, 8, 8), {}, r"data\.shape=\[2, 1, 8, 8, 8\]: use model=mlp"),
        ((1, 28, 28), {"channels": []}, r"model\.channels=\[\]"),
        ((1, 28, 28), {"channels": [8, 0]}, r"model\.channels=\[8, 0\]"),
        ((1, 28, 28), {"kernel_size": 1}, r"model\.kernel_size=1"),
    ],
)
def test_invalid_sizes_are_refused(shape, settings, message):
    for build in (lambda: Encoder(shape, 4, **settings), lambda: Decoder(4, shape, **settings)):
        with pytest.raises(ValueError, match=message):
            build()
