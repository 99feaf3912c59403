import pytest
import torch
from tiny import CONDITIONAL, TINY

from vaelab.figures.compute.base import FigureNotApplicable, get_held_out_split
from vaelab.figures.compute.grids import compute_reconstructions, compute_samples


def test_reconstructions_are_paired_with_held_out_images(run):
    run = run(*TINY)
    x, reconstructions = compute_reconstructions(run.vae, run.data, 7)
    assert x.shape == reconstructions.shape == (7, 1, 28, 28)
    images = run.data.prepare(get_held_out_split(run.data).images)
    assert all((images == image).flatten(1).all(1).any() for image in x)
    assert reconstructions.min() >= 0
    assert reconstructions.max() <= 1


def test_samples_are_reproducible(run):
    run = run(*TINY)
    first, second = (compute_samples(run.vae, run.data, 5) for _ in range(2))
    assert torch.equal(first, second)


def test_samples_of_a_conditional_model_are_sorted_by_label(run, monkeypatch):
    run = run(*CONDITIONAL)
    labels, condition_on = [], run.vae.condition_on
    monkeypatch.setattr(run.vae, "condition_on", lambda y: labels.append(y) or condition_on(y))
    compute_samples(run.vae, run.data, 100)
    assert torch.equal(labels[0], get_held_out_split(run.data).labels.sort().values)


def test_tabular_data_is_not_applicable(run):
    run = run(*TINY)
    run.data.shape = (784,)
    for compute in (compute_reconstructions, compute_samples):
        with pytest.raises(FigureNotApplicable):
            compute(run.vae, run.data, 4)
