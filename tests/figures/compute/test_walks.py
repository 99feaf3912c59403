import math

import pytest
import torch
from tiny import CONDITIONAL, GUMBEL, SPHERE, TINY, VQ
from torch.nn.functional import normalize

from vaelab.figures.compute.base import FigureNotApplicable, decode_latents, encode_images
from vaelab.figures.compute.walks import (
    _pair_distant_images,
    _pair_images_with_equal_labels,
    compute_walks,
    interpolate_spherically,
)


def interpolate(run, max_pairs=3):
    encoded = encode_images(run.vae, run.data, run.data.splits["test"])
    return encoded, compute_walks(run.vae, run.data, encoded, max_pairs)


def test_interpolation_starts_and_ends_at_the_latents_of_its_images(run):
    run = run(*TINY)
    encoded, walks = interpolate(run)
    assert walks.between.shape == (3, 11, 1, 28, 28)
    pairs = _pair_distant_images(len(encoded.split.images), 3)
    for row, (first, last) in enumerate(pairs):
        images = run.data.prepare(encoded.split.images[[first, last]])
        assert torch.equal(walks.ends[row], images)
        ends = encoded.modes[[first, last]]
        decoded = decode_latents(run.vae, run.data, ends, encoded.split.labels[:1])
        torch.testing.assert_close(walks.between[row, [0, -1]], decoded)
        middle = decode_latents(
            run.vae, run.data, ends.mean(0, keepdim=True), encoded.split.labels[:1]
        )
        torch.testing.assert_close(walks.between[row, 5], middle[0])
    assert walks.path == "in a straight line"


def test_spherical_interpolation_has_equal_steps_on_the_sphere():
    first, last = normalize(torch.randn(2, 6, dtype=torch.float64), dim=-1)
    z = interpolate_spherically(
        first, last, torch.linspace(0, 1, 9, dtype=torch.float64).unsqueeze(-1)
    )
    torch.testing.assert_close(z[[0, -1]], torch.stack([first, last]))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(9, dtype=torch.float64))
    steps = (z[1:] * z[:-1]).sum(-1).acos()
    angle = (first @ last).acos()
    torch.testing.assert_close(steps, (angle / 8).expand(8))


@pytest.mark.parametrize("angle", [0.0, math.pi])
def test_spherical_interpolation_of_equal_or_opposite_ends_is_finite(angle):
    first = torch.tensor([1.0, 0.0, 0.0])
    z = interpolate_spherically(
        first, math.cos(angle) * first, torch.linspace(0, 1, 5).unsqueeze(-1)
    )
    assert z.isfinite().all()


def test_interpolation_on_the_sphere_is_spherical(run):
    run = run(*SPHERE)
    encoded, walks = interpolate(run, max_pairs=1)
    z = interpolate_spherically(encoded.modes[0], encoded.modes[50], torch.tensor([[0.3]]))
    decoded = decode_latents(run.vae, run.data, z, encoded.split.labels[:1])
    torch.testing.assert_close(walks.between[0, 3], decoded[0])
    assert walks.path == "along an arc"


def test_conditional_interpolation_pairs_images_with_equal_labels(run):
    run = run(*CONDITIONAL)
    encoded, walks = interpolate(run, max_pairs=6)
    labels = encoded.split.labels
    pairs = _pair_images_with_equal_labels(labels, 6)
    assert len(pairs) == len(walks.ends) == 6
    assert all(labels[first] == labels[last] and first != last for first, last in pairs)
    assert len({labels[first].item() for first, _ in pairs}) == 6
    first, last = pairs[1]
    decoded = decode_latents(run.vae, run.data, encoded.modes[[first, last]], labels[[first]])
    torch.testing.assert_close(walks.between[1, [0, -1]], decoded)


@pytest.mark.parametrize(("size", "max_pairs"), [(1, 3), (2, 3), (7, 3), (100, 6)])
def test_pairs_do_not_share_an_image(size, max_pairs):
    pairs = _pair_distant_images(size, max_pairs)
    assert len(pairs) == min(max_pairs, size // 2)
    images = [image for pair in pairs for image in pair]
    assert len({*images}) == len(images)
    assert all(image < size for image in images)


def test_unique_attributes_give_no_pair():
    assert _pair_images_with_equal_labels(torch.eye(3).long(), 4) == []
    assert _pair_images_with_equal_labels(torch.tensor([[0, 1], [1, 1], [0, 1]]), 4) == [(0, 2)]


@pytest.mark.parametrize("words", [VQ, GUMBEL])
def test_discrete_latents_are_not_interpolated(run, words):
    with pytest.raises(FigureNotApplicable, match="cannot be interpolated"):
        interpolate(run(*words))
