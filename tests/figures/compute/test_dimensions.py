import pytest
import torch
from tiny import BOTTOM_UP, GUMBEL, LADDER, SPHERE, TINY, VQ
from torch.distributions import kl_divergence

from vaelab.evaluation.likelihood import likelihood_numbers
from vaelab.figures.compute.base import EncodedImages, encode_images
from vaelab.figures.compute.dimensions import (
    _log_ratio,
    dimension_places,
    kl_by_dimension,
    rank_dimensions,
)
from vaelab.runtime.seeding import Stream, seeded_noise


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_the_kl_of_each_dimension_is_that_of_an_evaluation(run, latent_dim):
    run = run("model.hidden=[8]", f"latent_dim={latent_dim}")
    kl = kl_by_dimension(run.vae, run.data, run.data.splits["test"])
    assert list(kl) == ["z1", "z2", "z3"][:latent_dim]
    exact = likelihood_numbers(run.vae, run.data, "test", samples=1)["kl_per_dimension"]
    assert list(kl.values()) == pytest.approx(exact)


@pytest.mark.parametrize("words", [LADDER, BOTTOM_UP])
def test_those_of_layers_add_up_to_the_estimate_of_the_whole_draw_by_draw(run, words):
    run = run(*words)
    x = run.data.prepare(run.data.splits["test"].images[:20])
    with torch.no_grad():
        q, p = run.vae.encode(x), run.vae.latents()
        with seeded_noise(Stream.PICTURES):
            z, log_q = q.rsample_and_log_prob()
            whole = log_q - p.log_prob(z)
        with seeded_noise(Stream.PICTURES):
            parts = _log_ratio(q, p)
    assert parts.shape == (20, 5)
    torch.testing.assert_close(parts.sum(-1), whole, atol=1e-4, rtol=1e-5)


def test_those_of_categories_are_one_for_each_variable(run):
    run = run(*GUMBEL)
    split = run.data.splits["test"]
    kl = kl_by_dimension(run.vae, run.data, split)
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
def test_where_only_the_whole_is_known_there_is_none(run, words):
    run = run(*words)
    assert kl_by_dimension(run.vae, run.data, run.data.splits["test"]) == {}


@pytest.mark.parametrize("words", [TINY, LADDER, BOTTOM_UP, GUMBEL])
def test_every_place_of_z_belongs_to_one_dimension(run, words):
    vae = run(*words).vae
    places = [place for each in dimension_places(vae).values() for place in each]
    assert places == list(range(vae.latent_dim))


def test_dimensions_of_layers_are_named_after_their_layer(run):
    assert list(dimension_places(run(*LADDER).vae)) == ["z1.1", "z1.2", "z2.1", "z2.2", "z2.3"]
    assert list(dimension_places(run(*BOTTOM_UP).vae)) == ["z1.1", "z1.2", "z1.3", "z2.1", "z2.2"]


def test_the_most_active_come_first_by_kl_or_else_by_variance(run):
    run = run(*TINY)
    codes = encode_images(run.vae, run.data, run.data.splits["test"])
    z = torch.tensor([1.0, 3.0, 2.0]) * torch.tensor([[-1.0], [1.0]])
    codes = EncodedImages(z, z, codes.split)
    found = rank_dimensions(run.vae, codes, {})
    assert [each.name for each in found] == ["z2", "z3", "z1"]
    assert [each.variance for each in found] == pytest.approx([9, 4, 1])
    assert found[0].label == "$z_{2}$   var 9.00"
    found = rank_dimensions(run.vae, codes, {"z1": 0.5, "z2": 0.25, "z3": 1.0})
    assert [each.name for each in found] == ["z3", "z1", "z2"]
    assert found[0].label == "$z_{3}$   1.00 nats"
