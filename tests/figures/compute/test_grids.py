import pytest
import torch
from tiny import CONDITIONAL, TINY

from vaelab.figures.compute.base import FigureNotApplicable, held_out_split
from vaelab.figures.compute.grids import compute_reconstructions, compute_samples


def test_reconstructions_stand_beside_held_out_images_of_the_data(run):
    run = run(*TINY)
    x, again = compute_reconstructions(run.vae, run.data, 7)
    assert x.shape == again.shape == (7, 1, 28, 28)
    images = run.data.prepare(held_out_split(run.data).images)
    assert all((images == each).flatten(1).all(1).any() for each in x)
    assert again.min() >= 0
    assert again.max() <= 1


def test_the_same_weights_give_the_same_pictures(run):
    run = run(*TINY)
    first, again = (compute_samples(run.vae, run.data, 5) for _ in range(2))
    assert torch.equal(first, again)


def test_samples_of_a_conditional_model_are_ordered_by_label(run, monkeypatch):
    run = run(*CONDITIONAL)
    given, model = [], run.vae.given
    monkeypatch.setattr(run.vae, "given", lambda y: given.append(y) or model(y))
    compute_samples(run.vae, run.data, 100)
    assert torch.equal(given[0], held_out_split(run.data).labels.sort().values)


def test_tables_have_no_pictures(run):
    run = run(*TINY)
    run.data.shape = (784,)
    for view in (compute_reconstructions, compute_samples):
        with pytest.raises(FigureNotApplicable):
            view(run.vae, run.data, 4)
