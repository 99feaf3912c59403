"""make_model: words, factories and objects, and how the record of a run names them."""

from functools import partial

import pytest
import torch
from torch import nn

import vaelab
from vaelab.likelihoods.gaussian import Gaussian
from vaelab.models.ladder import Ladder
from vaelab.posteriors.full import Full
from vaelab.priors.vamp import Vamp

SHAPE = (1, 4, 4)


def encoder(outputs=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, outputs))


def test_words_select_options_with_their_keys():
    vae = vaelab.make_model(SHAPE, 4, model="mlp model.hidden=[7]", loss="gaussian loss.scale=0.25")
    assert vae.encoder.layers[0].out_features == 7
    assert vae.likelihood.scale.item() == 0.25
    assert isinstance(vaelab.make_model(SHAPE, model="ladder"), Ladder)


def test_an_unknown_word_is_refused():
    with pytest.raises(vaelab.UserError, match="diagonal"):
        vaelab.make_model(SHAPE, posterior="diagonally")


def test_factories_are_called_and_named_in_the_recipe():
    loss = partial(Gaussian, scale=0.5)
    vae = vaelab.make_model(SHAPE, 4, posterior=Full, prior=partial(Vamp, components=3), loss=loss)
    assert isinstance(vae.posterior, Full)
    assert vae.likelihood.scale.item() == 0.5
    assert vae.recipe.given == []
    assert vae.recipe.nodes["loss"] == {
        "_target_": "vaelab.likelihoods.gaussian.Gaussian",
        "scale": 0.5,
        "_partial_": True,
    }


def test_objects_are_taken_as_they_are():
    network, likelihood = encoder(), Gaussian(SHAPE)
    vae = vaelab.make_model(SHAPE, 4, encoder=network, decoder=nn.Linear(4, 16), loss=likelihood)
    assert (vae.encoder.network, vae.likelihood) == (network, likelihood)
    assert sorted(vae.recipe.given) == ["decoder", "encoder", "loss"]
    assert vae.decode(vae.encode(torch.rand(2, *SHAPE)).rsample()).mean.shape == (2, *SHAPE)


def test_a_function_that_cannot_be_imported_is_an_object():
    vae = vaelab.make_model(SHAPE, 4, encoder=lambda shape, outputs: encoder(outputs))
    assert vae.recipe.given == ["encoder"]


def test_a_network_of_another_size_is_refused():
    with pytest.raises(vaelab.UserError, match=r"must return a tensor of shape \[2, 8\]"):
        vaelab.make_model(SHAPE, 4, encoder=encoder(9))
