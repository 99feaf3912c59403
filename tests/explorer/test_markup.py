"""Rendering of images, maps and numbers as HTML."""

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

METRICS = {"elbo": -104.486, "nll": 99.848, "nll_se": 0.256, "kl": 26.51, "active_units": 2}
METRICS |= {"kl_per_dimension": [2.0, 1.0, 0.0], "bits_per_dim": None}


@pytest.fixture(scope="module")
def explorers(save_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    overrides = {
        "binary": (),
        "more binary": (),
        "grayscale": ("data.binarize=none", "loss=mse"),
    }
    small = ("model.hidden=[8]", "latent_dim=2")
    return [Explorer.open(save_run(folder / name, *small, *overrides[name])) for name in overrides]


def test_image_url_contains_the_image():
    x = torch.randint(0, 256, (3, 5, 7)) / 255
    content = base64.b64decode(markup.image_url(x).removeprefix("data:image/png;base64,"))
    assert torch.equal(to_tensor(Image.open(io.BytesIO(content))), x)


def test_heading_shows_the_choices_and_the_known_metrics(explorers):
    explorer = explorers[0]
    explorer.metrics = METRICS
    heading = markup.heading_html(explorer)
    assert "mlp with 2 latents on mnist5k, 28x28 grayscale, binary pixels" in heading
    assert "p(x|z) bce" in heading
    for value in ("-104.5", "99.85 \u00b1 0.26", "26.51", "2 of 3"):
        assert f"<b>{value}</b>" in heading
    assert "bits/dim" not in heading


def test_untrusted_text_is_escaped(explorers):
    bad = "<img src=x onerror=alert(1)>"
    explorer = explorers[0]
    explorer.name, name = bad, explorer.name
    rendered = [markup.message_html(bad), markup.figures_html((None, bad))]
    rendered.append(markup.heading_html(explorer))
    rendered.append(markup.tiles_html([(0, torch.zeros(1, 2, 2), bad)]))
    rendered.append(markup.comparison_html([make_column(explorer), make_column(explorer)]))
    explorer.name = name
    assert all(bad not in html and "&lt;img" in html for html in rendered)


def make_column(explorer: Explorer) -> markup.ComparisonColumn:
    x = explorer.test_image(0)
    terms = explorer.compute_terms(x, torch.zeros(0))
    return markup.ComparisonColumn(explorer, x, explorer.to_display(x), terms)


def test_comparison_of_different_likelihoods_has_a_warning(explorers):
    binary, more, grayscale = map(make_column, explorers)
    assert "not their values in nats" not in markup.comparison_html([binary, more])
    assert "not their values in nats" in markup.comparison_html([binary, grayscale])


def test_missing_term_is_shown_as_a_dash(explorers):
    binary = make_column(explorers[0])
    without = binary._replace(terms={"rmse": 0.5})
    table = markup.comparison_html([binary, without])
    assert re.search(r"ELBO.*?<td>-\d+\.\d</td><td>-</td>", table)


def test_scatter_map_colours_dots_by_class():
    points, labels = torch.randn(60, 2), torch.arange(60) % 10
    drawing = markup.scatter_map_svg(LatentPlane.from_latents(points), labels)
    paths = re.findall(r"class='dots' d='([^']*)' stroke='([^']*)'", drawing)
    assert sum(path.count("M") for path, _ in paths) == 60
    assert len({colour for _, colour in paths}) == 10
    assert re.findall(r"<text[^>]*>(\d)</text>", drawing) == [str(label) for label in range(10)]


def test_scatter_map_without_labels_has_one_colour():
    drawing = markup.scatter_map_svg(LatentPlane.from_latents(torch.randn(60, 2)), None)
    assert drawing.count("class='dots'") == 1
    assert "<text" not in drawing


def test_decoded_map_shows_the_image_decoded_at_each_point(explorers):
    explorer = explorers[0]
    drawing = markup.decoded_map_svg(explorer.plane, explorer, torch.zeros(0))
    content = base64.b64decode(re.search(r"base64,([^']*)", drawing)[1])
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    assert pixels.shape == (16 * 28, 16 * 28)
    point = explorer.plane.point_at(2.5 / 16, 4.5 / 16)
    expected = explorer.decode(explorer.plane.to_latent(*point), torch.zeros(0))[0] * 255
    np.testing.assert_allclose(pixels[4 * 28 : 5 * 28, 2 * 28 : 3 * 28], expected, atol=1.01)
