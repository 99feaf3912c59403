import pytest
import torch
from tiny import BOTTOM_UP, CONDITIONAL, GUMBEL, LADDER, SPHERE, TINY, VQ

from vaelab.figures.compute.base import (
    FigureNotApplicable,
    decode_latents,
    encode_images,
    sample_prior_latents,
)
from vaelab.figures.compute.dimensions import get_dimension_indices, rank_dimensions
from vaelab.figures.compute.traversals import (
    _replace_coordinate_on_sphere,
    _set_later_layers_to_means,
    compute_traversals,
)


def traverse(run):
    encoded = encode_images(run.vae, run.data, run.data.splits["test"])
    dimensions = rank_dimensions(run.vae, encoded, {})
    return encoded, dimensions, compute_traversals(run.vae, run.data, encoded, dimensions)


@pytest.mark.parametrize("words", [TINY, CONDITIONAL])
def test_each_tile_replaces_one_latent_dimension(run, words):
    run = run(*words)
    encoded, dimensions, traversals = traverse(run)
    assert traversals.images.shape == (3, 13, 1, 28, 28)
    assert traversals.values.tolist() == pytest.approx([value / 2 for value in range(-6, 7)])
    assert traversals.labels == [dimension.label for dimension in dimensions]
    z, y = encoded.modes[0].clone(), encoded.split.labels[:1]
    assert traversals.original.tolist() == pytest.approx(
        [z[dimension.indices.start].item() for dimension in dimensions]
    )
    z[dimensions[1].indices.start] = 1.5
    torch.testing.assert_close(
        traversals.images[1, 9], decode_latents(run.vae, run.data, z[None], y)[0]
    )
    assert traversals.unit == "standard deviations of the prior, from its mean"


def test_values_are_standard_deviations_of_any_prior(run):
    run = run(*TINY, "prior=mixture")
    with torch.no_grad():
        run.vae.prior.means.copy_(5 + 3 * run.vae.prior.means)
    encoded, dimensions, traversals = traverse(run)
    samples = sample_prior_latents(run.vae, encoded.split.labels)
    z, index = encoded.modes[0].clone(), dimensions[0].indices.start
    z[index] = samples[:, index].mean() - 3 * samples[:, index].std()
    y = encoded.split.labels[:1]
    torch.testing.assert_close(
        traversals.images[0, 0], decode_latents(run.vae, run.data, z[None], y)[0]
    )


def test_values_without_density_are_standard_deviations_of_the_latents(run):
    run = run(*TINY, "objective=autoencoder")
    encoded, dimensions, traversals = traverse(run)
    index = dimensions[0].indices.start
    z = encoded.modes[:, index]
    assert traversals.original[0].item() == pytest.approx(((z[0] - z.mean()) / z.std()).item())
    assert traversals.unit == "standard deviations of the latents, from their mean"


def test_replacing_a_coordinate_keeps_the_unit_sphere():
    z = torch.nn.functional.normalize(torch.randn(5), dim=-1)
    values = torch.tensor([-1.0, -0.3, 0.0, 0.6, 1.0])
    replaced = _replace_coordinate_on_sphere(z, 2, values)
    torch.testing.assert_close(replaced.norm(dim=-1), torch.ones(5))
    assert torch.equal(replaced[:, 2], values)
    ratio = replaced[:, [0, 1, 3, 4]] / z[[0, 1, 3, 4]]
    torch.testing.assert_close(ratio, ratio[:, :1].expand(-1, 4))
    assert torch.allclose(_replace_coordinate_on_sphere(z, 2, z[2:3])[0], z)


def test_traversals_on_the_sphere_use_coordinates(run):
    _, _, traversals = traverse(run(*SPHERE))
    assert traversals.images.shape == (4, 9, 1, 28, 28)
    assert traversals.values.tolist() == pytest.approx([value / 4 for value in range(-4, 5)])


@pytest.mark.parametrize("words", [LADDER, BOTTOM_UP])
def test_later_layers_are_set_to_their_means(run, words):
    run = run(*words)
    encoded, _, traversals = traverse(run)
    z, indices = encoded.modes[:1], get_dimension_indices(run.vae)
    layer = {indices[name].start: int(name[1]) for name in indices}
    top = 1 if words is LADDER else 2  # which p samples first
    (first,) = [index for index in layer if layer[index] == top][:1]
    with torch.no_grad():
        replaced = _set_later_layers_to_means(run.vae, z, first, encoded.split.labels[:1])
        p = run.vae.latents().run_layers(torch.Size([1]), replaced, None).layers
    means = torch.cat([layer.mean for layer in p], -1)
    for index in range(5):
        expected = z if layer[index] == top else means
        torch.testing.assert_close(replaced[0, index], expected[0, index], msg=f"at {index}")
    (last,) = [index for index in layer if layer[index] != top][:1]
    assert torch.equal(_set_later_layers_to_means(run.vae, z, last, encoded.split.labels[:1]), z)
    assert traversals.images.shape == (5, 13, 1, 28, 28)


def test_only_real_dimensions_are_traversed(run):
    _, dimensions, traversals = traverse(run(*GUMBEL))
    assert {dimension.name for dimension in dimensions} == {"c1", "c2", "z1", "z2"}
    assert len(traversals.images) == 2


def test_codebooks_are_not_traversed(run):
    with pytest.raises(FigureNotApplicable, match="the codes of a codebook cannot be interpolated"):
        traverse(run(*VQ))
