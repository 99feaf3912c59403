"""Pictures, maps and numbers as HTML."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from vaelab.explorer import markup
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.plane import LatentPlane

NUMBERS = {"elbo": -104.486, "nll": 99.848, "nll_se": 0.256, "kl": 26.51, "active_units": 2}
NUMBERS |= {"kl_per_dimension": [2.0, 1.0, 0.0], "bits_per_dim": None}


@pytest.fixture(scope="module")
def explorers(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    words = {"bits": (), "more bits": (), "grey": ("data.binarize=none", "loss=mse")}
    small = ("model.hidden=[8]", "latent_dim=2")
    return [Explorer.open(saved(folder / name, *small, *words[name])) for name in words]


def test_a_picture_is_inside_its_address():
    x = torch.randint(0, 256, (3, 5, 7)) / 255
    content = base64.b64decode(markup.image(x).removeprefix("data:image/png;base64,"))
    assert torch.equal(to_tensor(Image.open(io.BytesIO(content))), x)


def test_the_heading_has_the_choices_and_the_numbers_that_there_are(explorers):
    one = explorers[0]
    one.numbers = NUMBERS
    heading = markup.heading(one)
    for words in ("mlp with 2 latents on mnist5k, 28x28 grey, bits", "p(x|z) bce"):
        assert words in heading
    for value in ("-104.5", "99.85 \u00b1 0.26", "26.51", "2 of 3"):
        assert f"<b>{value}</b>" in heading
    assert "bits/dim" not in heading


def test_what_comes_from_outside_is_escaped(explorers):
    bad = "<img src=x onerror=alert(1)>"
    one = explorers[0]
    one.name, name = bad, one.name
    shown = [markup.message(bad), markup.figures((None, bad)), markup.heading(one)]
    shown.append(markup.tiles([(0, torch.zeros(1, 2, 2), bad)]))
    shown.append(markup.comparison([column(one), column(one)]))
    one.name = name
    assert all(bad not in each and "&lt;img" in each for each in shown)


def column(explorer: Explorer) -> markup.Column:
    x = explorer.image(0)
    return markup.Column(explorer, x, explorer.shown(x), explorer.terms(x, torch.zeros(0)))


def test_numbers_of_unlike_runs_are_not_to_be_compared(explorers):
    bits, more, grey = map(column, explorers)
    assert "cannot be compared" not in markup.comparison([bits, more])
    assert "cannot be compared" in markup.comparison([bits, grey])


def test_a_term_that_one_run_lacks_is_a_dash(explorers):
    bits = column(explorers[0])
    without = bits._replace(terms={"rmse": 0.5})
    assert re.search(r"ELBO.*?<td>-\d+\.\d</td><td>-</td>", markup.comparison([bits, without]))


def test_every_code_is_a_dot_in_the_colour_of_its_class():
    places, labels = torch.randn(60, 2), torch.arange(60) % 10
    drawing = markup.points(LatentPlane.of(places), labels)
    paths = re.findall(r"class='dots' d='([^']*)' stroke='([^']*)'", drawing)
    assert sum(path.count("M") for path, _ in paths) == 60
    assert len({colour for _, colour in paths}) == 10
    assert re.findall(r"<text[^>]*>(\d)</text>", drawing) == [str(each) for each in range(10)]


def test_without_classes_all_dots_are_alike():
    drawing = markup.points(LatentPlane.of(torch.randn(60, 2)), None)
    assert drawing.count("class='dots'") == 1
    assert "<text" not in drawing


def test_the_map_of_pictures_shows_what_each_place_decodes_to(explorers):
    one = explorers[0]
    drawing = markup.pictures(one.plane, one, torch.zeros(0))
    content = base64.b64decode(re.search(r"base64,([^']*)", drawing)[1])
    seen = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    assert seen.shape == (16 * 28, 16 * 28)
    place = one.plane.at(2.5 / 16, 4.5 / 16)
    expected = one.decode(one.plane.code(*place), torch.zeros(0))[0] * 255
    np.testing.assert_allclose(seen[4 * 28 : 5 * 28, 2 * 28 : 3 * 28], expected, atol=1.01)
