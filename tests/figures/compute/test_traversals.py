import pytest
import torch
from tiny import BOTTOM_UP, CONDITIONAL, GUMBEL, LADDER, SPHERE, TINY, VQ

from vaelab.figures.compute.base import (
    FigureNotApplicable,
    decode_latents,
    encode_images,
    sample_prior_points,
)
from vaelab.figures.compute.dimensions import dimension_places, rank_dimensions
from vaelab.figures.compute.traversals import _followed, _rotated, compute_traversals


def walk_through(run):
    codes = encode_images(run.vae, run.data, run.data.splits["test"])
    parts = rank_dimensions(run.vae, codes, {})
    return codes, parts, compute_traversals(run.vae, run.data, codes, parts)


@pytest.mark.parametrize("words", [TINY, CONDITIONAL])
def test_a_tile_is_the_image_with_one_number_replaced(run, words):
    run = run(*words)
    codes, parts, found = walk_through(run)
    assert found.images.shape == (3, 13, 1, 28, 28)
    assert found.values.tolist() == pytest.approx([value / 2 for value in range(-6, 7)])
    assert found.labels == [part.label for part in parts]
    z, y = codes.likeliest[0].clone(), codes.split.labels[:1]
    assert found.own.tolist() == pytest.approx([z[part.places.start].item() for part in parts])
    z[parts[1].places.start] = 1.5
    torch.testing.assert_close(found.images[1, 9], decode_latents(run.vae, run.data, z[None], y)[0])
    assert found.unit == "standard deviations of the prior, from its mean"


def test_the_values_count_the_deviations_of_any_prior(run):
    run = run(*TINY, "prior=mixture")
    with torch.no_grad():
        run.vae.prior.means.copy_(5 + 3 * run.vae.prior.means)
    codes, parts, found = walk_through(run)
    draws = sample_prior_points(run.vae, codes.split.labels)
    z, place = codes.likeliest[0].clone(), parts[0].places.start
    z[place] = draws[:, place].mean() - 3 * draws[:, place].std()
    y = codes.split.labels[:1]
    torch.testing.assert_close(found.images[0, 0], decode_latents(run.vae, run.data, z[None], y)[0])


def test_where_there_is_no_density_they_count_those_of_the_codes(run):
    run = run(*TINY, "objective=autoencoder")
    codes, parts, found = walk_through(run)
    place = parts[0].places.start
    z = codes.likeliest[:, place]
    assert found.own[0].item() == pytest.approx(((z[0] - z.mean()) / z.std()).item())
    assert found.unit == "standard deviations of the codes, from their mean"


def test_on_the_sphere_the_others_make_room():
    z = torch.nn.functional.normalize(torch.randn(5), dim=-1)
    values = torch.tensor([-1.0, -0.3, 0.0, 0.6, 1.0])
    moved = _rotated(z, 2, values)
    torch.testing.assert_close(moved.norm(dim=-1), torch.ones(5))
    assert torch.equal(moved[:, 2], values)
    ratio = moved[:, [0, 1, 3, 4]] / z[[0, 1, 3, 4]]
    torch.testing.assert_close(ratio, ratio[:, :1].expand(-1, 4))
    assert torch.allclose(_rotated(z, 2, z[2:3])[0], z)


def test_the_sphere_is_traversed_by_its_coordinates(run):
    _, _, found = walk_through(run(*SPHERE))
    assert found.images.shape == (4, 9, 1, 28, 28)
    assert found.values.tolist() == pytest.approx([value / 4 for value in range(-4, 5)])


@pytest.mark.parametrize("words", [LADDER, BOTTOM_UP])
def test_the_layers_that_p_draws_later_follow_at_their_means(run, words):
    run = run(*words)
    codes, _, found = walk_through(run)
    z, places = codes.likeliest[:1], dimension_places(run.vae)
    layer = {places[name].start: int(name[1]) for name in places}
    top = 1 if words is LADDER else 2  # which p draws first
    (first,) = [place for place in layer if layer[place] == top][:1]
    with torch.no_grad():
        moved = _followed(run.vae, z, first, codes.split.labels[:1])
        p = run.vae.latents().walk(torch.Size([1]), moved, None).layers
    means = torch.cat([each.mean for each in p], -1)
    for place in range(5):
        kept = z if layer[place] == top else means
        torch.testing.assert_close(moved[0, place], kept[0, place], msg=f"at {place}")
    (last,) = [place for place in layer if layer[place] != top][:1]
    assert torch.equal(_followed(run.vae, z, last, codes.split.labels[:1]), z)
    assert found.images.shape == (5, 13, 1, 28, 28)


def test_beside_categories_only_numbers_are_moved(run):
    _, parts, found = walk_through(run(*GUMBEL))
    assert {part.name for part in parts} == {"c1", "c2", "z1", "z2"}
    assert len(found.images) == 2


def test_codes_are_left_out(run):
    with pytest.raises(FigureNotApplicable, match="nothing lies between the codes of a codebook"):
        walk_through(run(*VQ))
