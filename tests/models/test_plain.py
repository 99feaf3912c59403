"""Networks of the user as encoder and decoder."""

import pytest
import torch
from torch import nn

from vaelab.models.plain import Decoder, Encoder
from vaelab.runtime.errors import UserError

SHAPE = (1, 4, 4)


class Factory(nn.Linear):
    """A network that is built from the sizes that vaelab gives it."""

    def __init__(self, latent_dim, shape):
        super().__init__(latent_dim, shape[0] * shape[1] * shape[2])


def convolutional_decoder():
    return nn.Sequential(
        nn.Linear(2, 16), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 1, 2, stride=2)
    )


def test_a_network_may_return_values_in_any_shape():
    x = torch.rand(3, *SHAPE)
    net = nn.Sequential(nn.Conv2d(1, 6, 4), nn.Unflatten(1, (2, 3)))
    assert Encoder(SHAPE, 6, net)(x).shape == (3, 6)
    assert Decoder(2, SHAPE, nn.Linear(2, 16))(torch.rand(3, 2)).shape == (3, *SHAPE)


def test_a_factory_receives_the_sizes():
    assert Decoder(2, SHAPE, Factory).network.in_features == 2


@pytest.mark.parametrize("network", [lambda: nn.Linear(2, 16), convolutional_decoder])
def test_the_output_bias_is_initialized(network):
    decoder = Decoder(2, SHAPE, network())
    before = decoder(torch.zeros(1, 2))
    decoder.initialize(torch.full(SHAPE, 5.0))
    after = decoder(torch.zeros(1, 2))
    assert (after - before).min() > 3
    decoder.scale_output_weights(0.0)
    torch.testing.assert_close(decoder(torch.randn(1, 2)), torch.full((1, *SHAPE), 5.0))


def test_a_network_with_another_end_keeps_its_weights():
    network = nn.Sequential(nn.Linear(2, 16), nn.Tanh())
    decoder = Decoder(2, SHAPE, network)
    before = {name: each.clone() for name, each in decoder.state_dict().items()}
    decoder.initialize(torch.full(SHAPE, 5.0))
    decoder.scale_output_weights(0.1)
    assert all(torch.equal(each, before[name]) for name, each in decoder.state_dict().items())


def test_checks_leave_mode_and_batch_statistics_alone():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 4))
    Encoder(SHAPE, 4, network)
    assert network.training
    assert not network[1].running_mean.any()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Encoder(SHAPE, 4, nn.Linear(16, 4)), r"encoder: .* shape \[2, 1, 4, 4\]"),
        (
            lambda: Encoder(SHAPE, 4, nn.Sequential(nn.Flatten(), nn.Linear(16, 5))),
            r"must return a tensor of shape \[2, 4\].*returns \[2, 5\]",
        ),
        (lambda: Decoder(2, SHAPE, nn.Linear(2, 5)), r"decoder: .*\[2, 1, 4, 4\].*\[2, 5\]"),
        (lambda: Decoder(2, SHAPE, nn.Sequential(nn.Linear(2, 16), nn.Sigmoid())), "Sigmoid"),
        (lambda: Encoder(SHAPE, 4, lambda *_: 3), "must return an nn.Module"),
    ],
)
def test_networks_of_another_size_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()
