import math

import pytest
import torch
from tiny import CONDITIONAL, GUMBEL, SPHERE, TINY, VQ
from torch.nn.functional import normalize

from vaelab.figures.compute.base import FigureNotApplicable, decode_latents, encode_images
from vaelab.figures.compute.walks import _alike, _apart, compute_walks, interpolate_on_arc


def walk(run, most=3):
    codes = encode_images(run.vae, run.data, run.data.splits["test"])
    return codes, compute_walks(run.vae, run.data, codes, most)


def test_a_walk_begins_and_ends_at_the_codes_of_its_images(run):
    run = run(*TINY)
    codes, found = walk(run)
    assert found.between.shape == (3, 11, 1, 28, 28)
    pairs = _apart(len(codes.split.images), 3)
    for row, (first, last) in enumerate(pairs):
        images = run.data.prepare(codes.split.images[[first, last]])
        assert torch.equal(found.ends[row], images)
        ends = codes.likeliest[[first, last]]
        shown = decode_latents(run.vae, run.data, ends, codes.split.labels[:1])
        torch.testing.assert_close(found.between[row, [0, -1]], shown)
        middle = decode_latents(
            run.vae, run.data, ends.mean(0, keepdim=True), codes.split.labels[:1]
        )
        torch.testing.assert_close(found.between[row, 5], middle[0])
    assert found.path == "in a straight line"


def test_an_arc_keeps_to_the_sphere_in_equal_steps():
    first, last = normalize(torch.randn(2, 6, dtype=torch.float64), dim=-1)
    z = interpolate_on_arc(first, last, torch.linspace(0, 1, 9, dtype=torch.float64).unsqueeze(-1))
    torch.testing.assert_close(z[[0, -1]], torch.stack([first, last]))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(9, dtype=torch.float64))
    steps = (z[1:] * z[:-1]).sum(-1).acos()
    whole = (first @ last).acos()
    torch.testing.assert_close(steps, (whole / 8).expand(8))


@pytest.mark.parametrize("angle", [0.0, math.pi])
def test_an_arc_between_equal_or_opposite_ends_is_finite(angle):
    first = torch.tensor([1.0, 0.0, 0.0])
    z = interpolate_on_arc(first, math.cos(angle) * first, torch.linspace(0, 1, 5).unsqueeze(-1))
    assert z.isfinite().all()


def test_the_walks_of_codes_on_the_sphere_are_arcs(run):
    run = run(*SPHERE)
    codes, found = walk(run, most=1)
    z = interpolate_on_arc(codes.likeliest[0], codes.likeliest[50], torch.tensor([[0.3]]))
    shown = decode_latents(run.vae, run.data, z, codes.split.labels[:1])
    torch.testing.assert_close(found.between[0, 3], shown[0])
    assert found.path == "along an arc"


def test_the_ends_of_a_conditional_walk_have_one_label(run):
    run = run(*CONDITIONAL)
    codes, found = walk(run, most=6)
    labels = codes.split.labels
    pairs = _alike(labels, 6)
    assert len(pairs) == len(found.ends) == 6
    assert all(labels[first] == labels[last] and first != last for first, last in pairs)
    assert len({labels[first].item() for first, _ in pairs}) == 6
    first, last = pairs[1]
    shown = decode_latents(run.vae, run.data, codes.likeliest[[first, last]], labels[[first]])
    torch.testing.assert_close(found.between[1, [0, -1]], shown)


@pytest.mark.parametrize(("size", "most"), [(1, 3), (2, 3), (7, 3), (100, 6)])
def test_pairs_do_not_share_an_image(size, most):
    pairs = _apart(size, most)
    assert len(pairs) == min(most, size // 2)
    images = [image for pair in pairs for image in pair]
    assert len({*images}) == len(images)
    assert all(image < size for image in images)


def test_attributes_that_no_two_images_share_give_no_pair():
    assert _alike(torch.eye(3).long(), 4) == []
    assert _alike(torch.tensor([[0, 1], [1, 1], [0, 1]]), 4) == [(0, 2)]


@pytest.mark.parametrize("words", [VQ, GUMBEL])
def test_there_is_no_way_between_codes(run, words):
    with pytest.raises(FigureNotApplicable, match="nothing lies between"):
        walk(run(*words))
