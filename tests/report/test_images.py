import base64
import io

import numpy as np
import pytest
from PIL import Image
from report.conftest import write_image

from vaelab.report.images import embed_images


def get_content(image):
    return base64.b64decode(image.source.partition(",")[2])


def open_image(image):
    return Image.open(io.BytesIO(get_content(image)))


def test_image_that_fits_is_not_compressed(tmp_path):
    path = tmp_path / "figures" / "samples.png"
    write_image(path)
    embedded, missing = embed_images([(path, tmp_path)])
    assert get_content(embedded[path]) == path.read_bytes()
    assert (embedded[path].name, embedded[path].width, missing) == ("figures/samples.png", 64, [])


@pytest.fixture
def twelve_images(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(12)]
    for n, path in enumerate(paths):
        write_image(path, edge=100 if n < 6 else 400, seed=n)
    return [(path, tmp_path) for path in paths]


def test_large_images_are_compressed_to_the_limit(twelve_images):
    embedded, missing = embed_images(twelve_images, max_bytes=300_000)
    assert not missing
    assert list(embedded) == [path for path, _ in twelve_images]
    assert sum(len(get_content(image)) for image in embedded.values()) <= 300_000
    for n, (path, _) in enumerate(twelve_images):
        assert (get_content(embedded[path]) == path.read_bytes()) == (n < 6)
        assert embedded[path].width == (100 if n < 6 else 400)  # the size at which it is shown


def test_compressed_image_shows_the_same_content(tmp_path):
    pixels = np.zeros((400, 400, 3), dtype=np.uint8)
    pixels[:200], pixels[:, 200:] = (250, 10, 10), (10, 10, 250)
    noise = np.random.default_rng(0).integers(0, 5, pixels.shape, dtype=np.uint8)
    Image.fromarray(pixels + noise).save(tmp_path / "a.png")
    embedded, _ = embed_images([(tmp_path / "a.png", tmp_path)], max_bytes=20_000)
    smaller = open_image(embedded[tmp_path / "a.png"]).convert("RGB")
    for (x, y), colour in (((0.2, 0.2), (250, 10, 10)), ((0.8, 0.8), (10, 10, 250))):
        pixel = smaller.getpixel((int(x * smaller.width), int(y * smaller.height)))
        assert np.abs(np.array(pixel) - colour).max() < 30


def test_unreadable_images_and_those_without_room_are_listed(twelve_images, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(twelve_images[0][0].read_bytes()[:200])
    embedded, missing = embed_images([*twelve_images, (broken, tmp_path)], max_bytes=1000)
    assert embedded == {}
    assert missing == sorted([broken, *(path for path, _ in twelve_images)])
