import pytest
import torch
from tiny import BOTTOM_UP, GUMBEL, LADDER, SPHERE, TINY, VQ
from torch.distributions import kl_divergence

from vaelab.evaluation.likelihood import evaluate_likelihood
from vaelab.figures.compute.base import EncodedImages, encode_images
from vaelab.figures.compute.dimensions import (
    _compute_log_ratio,
    compute_kl_per_dimension,
    get_dimension_indices,
    rank_dimensions,
)
from vaelab.runtime.seeding import Stream, seeded_noise


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_kl_per_dimension_equals_that_of_an_evaluation(run, latent_dim):
    run = run("model.hidden=[8]", f"latent_dim={latent_dim}")
    kl = compute_kl_per_dimension(run.vae, run.data, run.data.splits["test"])
    assert list(kl) == ["z1", "z2", "z3"][:latent_dim]
    exact = evaluate_likelihood(run.vae, run.data, "test", samples=1)["kl_per_dimension"]
    assert list(kl.values()) == pytest.approx(exact)


@pytest.mark.parametrize("words", [LADDER, BOTTOM_UP])
def test_kl_of_layers_sums_to_the_log_ratio_of_each_sample(run, words):
    run = run(*words)
    x = run.data.prepare(run.data.splits["test"].images[:20])
    with torch.no_grad():
        q, p = run.vae.encode(x), run.vae.latents()
        with seeded_noise(Stream.PICTURES):
            z, log_q = q.rsample_and_log_prob()
            log_ratio = log_q - p.log_prob(z)
        with seeded_noise(Stream.PICTURES):
            parts = _compute_log_ratio(q, p)
    assert parts.shape == (20, 5)
    torch.testing.assert_close(parts.sum(-1), log_ratio, atol=1e-4, rtol=1e-5)


def test_kl_of_categorical_variables_sums_to_the_exact_kl(run):
    run = run(*GUMBEL)
    split = run.data.splits["test"]
    kl = compute_kl_per_dimension(run.vae, run.data, split)
    assert list(kl) == ["c1", "c2", "z1", "z2"]
    q = run.vae.eval().encode(run.data.prepare(split.images))
    assert sum(kl.values()) == pytest.approx(kl_divergence(q, run.vae.latents()).mean().item())


@pytest.mark.parametrize(
    "words",
    [
        (*TINY, "posterior=iaf"),
        SPHERE,
        VQ,
        (*TINY, "prior=mixture"),
        (*TINY, "objective=autoencoder"),
    ],
)
def test_kl_per_dimension_is_empty_without_factorised_kl(run, words):
    run = run(*words)
    assert compute_kl_per_dimension(run.vae, run.data, run.data.splits["test"]) == {}


@pytest.mark.parametrize("words", [TINY, LADDER, BOTTOM_UP, GUMBEL])
def test_every_entry_of_z_belongs_to_one_dimension(run, words):
    vae = run(*words).vae
    indices = [index for entries in get_dimension_indices(vae).values() for index in entries]
    assert indices == list(range(vae.latent_dim))


def test_dimensions_are_named_by_layer_or_by_channel_and_position(run):
    grid = run("model=autoencoder", "model.channels=[4,8]", "model.latents=2")
    names = list(get_dimension_indices(grid.vae))
    assert names[:3] == ["z1.1.1", "z2.1.1", "z1.1.2"]
    assert (names[28], names[-1]) == ("z1.2.1", "z2.14.14")
    assert list(get_dimension_indices(run(*LADDER).vae)) == ["z1.1", "z1.2", "z2.1", "z2.2", "z2.3"]
    assert list(get_dimension_indices(run(*BOTTOM_UP).vae)) == [
        "z1.1",
        "z1.2",
        "z1.3",
        "z2.1",
        "z2.2",
    ]


def test_dimensions_are_ranked_by_kl_or_else_by_variance(run):
    run = run(*TINY)
    encoded = encode_images(run.vae, run.data, run.data.splits["test"])
    z = torch.tensor([1.0, 3.0, 2.0]) * torch.tensor([[-1.0], [1.0]])
    encoded = EncodedImages(z, z, encoded.split)
    ranked = rank_dimensions(run.vae, encoded, {})
    assert [dimension.name for dimension in ranked] == ["z2", "z3", "z1"]
    assert [dimension.variance for dimension in ranked] == pytest.approx([9, 4, 1])
    assert ranked[0].label == "$z_{2}$   var 9.00"
    ranked = rank_dimensions(run.vae, encoded, {"z1": 0.5, "z2": 0.25, "z3": 1.0})
    assert [dimension.name for dimension in ranked] == ["z3", "z1", "z2"]
    assert ranked[0].label == "$z_{3}$   1.00 nats"
