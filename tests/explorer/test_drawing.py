"""The map of latents as SVG."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from vaelab.data.fashion_mnist import FashionMNIST
from vaelab.explorer import drawing
from vaelab.explorer.explorer import Explorer


@pytest.fixture(scope="module")
def explorer(save_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return Explorer.open(save_run(folder / "run", "model.hidden=[8]", "latent_dim=2"))


def test_png_contains_the_image():
    x = torch.randint(0, 256, (3, 5, 7)) / 255
    assert torch.equal(to_tensor(Image.open(io.BytesIO(drawing.encode_png(x)))), x)


def test_scatter_map_colours_dots_by_class(explorer):
    svg = drawing.scatter_map_svg(explorer)
    paths = re.findall(r"class='dots' d='([^']*)' stroke='([^']*)'", svg)
    assert sum(path.count("M") for path, _ in paths) == 500
    assert len({colour for _, colour in paths}) == 10
    names = re.findall(r"<text[^>]*>(\d)</text>", svg)
    assert sorted(names) == [str(label) for label in range(10)]


def test_names_of_classes_are_inside_the_map_and_do_not_overlap(explorer, monkeypatch):
    monkeypatch.setattr(explorer.run.data, "classes", FashionMNIST.classes, raising=False)
    svg = drawing.scatter_map_svg(explorer)
    places = re.findall(r"<text x='(\d+)' y='(\d+)'>([^<]*)</text>", svg)
    assert {name for *_, name in places} == set(FashionMNIST.classes)
    for x, _, name in places:
        half = drawing.LETTER_WIDTH * len(name) / 2
        assert half - 1 <= float(x) <= drawing.MAP_SIZE - half + 1
    boxes = [(int(x), int(y), drawing.LETTER_WIDTH * len(name) / 2) for x, y, name in places]
    for n, (x, y, half) in enumerate(boxes):
        for a, b, other in boxes[:n]:
            assert abs(x - a) >= half + other - 1 or abs(y - b) >= drawing.LINE_HEIGHT - 1


def test_scatter_map_without_classes_has_one_colour(explorer, monkeypatch):
    monkeypatch.setattr(Explorer, "test_classes", None)
    svg = drawing.scatter_map_svg(explorer)
    assert svg.count("class='dots'") == 1
    assert "<text" not in svg


def test_decoded_map_shows_the_image_decoded_at_each_point(explorer):
    svg = drawing.decoded_map_svg(explorer.plane, explorer, torch.zeros(0))
    content = base64.b64decode(re.search(r"base64,([^']*)", svg)[1])
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    assert pixels.shape == (16 * 28, 16 * 28)
    point = explorer.plane.point_at(2.5 / 16, 4.5 / 16)
    expected = explorer.decode(explorer.plane.to_latent(*point), torch.zeros(0))[0] * 255
    np.testing.assert_allclose(pixels[4 * 28 : 5 * 28, 2 * 28 : 3 * 28], expected, atol=1.01)
