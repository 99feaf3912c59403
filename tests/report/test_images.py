import base64
import io

import numpy as np
import pytest
from PIL import Image
from report.conftest import draw

from vaelab.report.images import embed_images


def content(picture):
    return base64.b64decode(picture.source.partition(",")[2])


def opened(picture):
    return Image.open(io.BytesIO(content(picture)))


def test_a_picture_that_fits_is_itself(tmp_path):
    path = tmp_path / "figures" / "samples.png"
    draw(path)
    found, missing = embed_images([(path, tmp_path)])
    assert content(found[path]) == path.read_bytes()
    assert (found[path].name, found[path].width, missing) == ("figures/samples.png", 64, [])


@pytest.fixture
def many(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(12)]
    for n, path in enumerate(paths):
        draw(path, edge=100 if n < 6 else 400, seed=n)
    return [(path, tmp_path) for path in paths]


def test_all_of_them_stay_below_the_budget_and_the_large_ones_shrink(many):
    found, missing = embed_images(many, budget=300_000)
    assert not missing
    assert list(found) == [path for path, _ in many]
    assert sum(len(content(picture)) for picture in found.values()) <= 300_000
    for n, (path, _) in enumerate(many):
        assert (content(found[path]) == path.read_bytes()) == (n < 6)
        assert found[path].width == (100 if n < 6 else 400)  # the size it is shown at


def test_a_smaller_picture_still_shows_the_same(tmp_path):
    pixels = np.zeros((400, 400, 3), dtype=np.uint8)
    pixels[:200], pixels[:, 200:] = (250, 10, 10), (10, 10, 250)
    noise = np.random.default_rng(0).integers(0, 5, pixels.shape, dtype=np.uint8)
    Image.fromarray(pixels + noise).save(tmp_path / "a.png")
    found, _ = embed_images([(tmp_path / "a.png", tmp_path)], budget=20_000)
    smaller = opened(found[tmp_path / "a.png"]).convert("RGB")
    for (x, y), colour in (((0.2, 0.2), (250, 10, 10)), ((0.8, 0.8), (10, 10, 250))):
        shown = smaller.getpixel((int(x * smaller.width), int(y * smaller.height)))
        assert np.abs(np.array(shown) - colour).max() < 30


def test_what_has_no_room_or_cannot_be_read_is_named(many, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(many[0][0].read_bytes()[:200])
    found, missing = embed_images([*many, (broken, tmp_path)], budget=1000)
    assert found == {}
    assert missing == sorted([broken, *(path for path, _ in many)])
