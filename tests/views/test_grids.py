import pytest
import torch
from tiny import CONDITIONAL, TINY

from vaelab.figures.compute.base import LeftOut, held_out
from vaelab.figures.compute.grids import reconstructed, sampled


def test_reconstructions_stand_beside_held_out_images_of_the_data(run):
    run = run(*TINY)
    x, again = reconstructed(run.vae, run.data, 7)
    assert x.shape == again.shape == (7, 1, 28, 28)
    images = run.data.prepare(held_out(run.data).images)
    assert all((images == each).flatten(1).all(1).any() for each in x)
    assert again.min() >= 0
    assert again.max() <= 1


def test_the_same_weights_give_the_same_pictures(run):
    run = run(*TINY)
    first, again = (sampled(run.vae, run.data, 5) for _ in range(2))
    assert torch.equal(first, again)


def test_samples_of_a_conditional_model_are_ordered_by_label(run, monkeypatch):
    run = run(*CONDITIONAL)
    given, model = [], run.vae.given
    monkeypatch.setattr(run.vae, "given", lambda y: given.append(y) or model(y))
    sampled(run.vae, run.data, 100)
    assert torch.equal(given[0], held_out(run.data).labels.sort().values)


def test_tables_have_no_pictures(run):
    run = run(*TINY)
    run.data.shape = (784,)
    for view in (reconstructed, sampled):
        with pytest.raises(LeftOut):
            view(run.vae, run.data, 4)
