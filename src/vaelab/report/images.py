"""Images embedded in a report as data URLs, compressed if all of them would be too large."""

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vaelab.runtime.errors import UserError
from vaelab.runtime.language import TO_ENGLISH, Translate
from vaelab.runtime.metric_names import name_data_in

MAX_BYTES = 2_200_000  # of all images of a page; base64 adds a third, which makes 3 MB
MAX_IMAGES = 250  # of a page; with more, each would have too few bytes
SCALES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
MIN_EDGE = 80  # pixels of the longer edge of a reduced image
UNREADABLE = (
    *(OSError, ValueError, SyntaxError),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
CAPTIONS = {
    "reconstructions": "Validation images, each row above the row of its reconstructions",
    "samples": "Means of p(x|z) for latents z sampled from the prior",
    "traversals": "Latent traversals: one latent dimension changes, the others are fixed",
    "walks": "Interpolations between the latents of two images",
    "map": "The latents of images, coloured by label",
    "aggregate": "The aggregate posterior q(z) against the prior p(z)",
    "layers": "Test images with more and more layers fixed from the top, and the KL of each layer",
    "kl_per_dimension": "KL of each latent dimension by epoch",
    "nearest": "Samples, each row above the row of the nearest training images",
    "curves": "ELBO, reconstruction and KL by optimizer step",
}
TABLE_CAPTIONS = {
    "reconstructions": "The first test rows, with their reconstructions below the values",
    "samples": "The distribution of each column in training rows and in samples of the model",
    "pairs": "Columns against each other, in training rows and in samples of the model",
}


@dataclass(frozen=True)
class EmbeddedImage:
    """An image in a page.

    Attributes:
        name: Its path in the run folder, such as figures/samples.png.
        source: data:image/...;base64,...
        width, height: The size at which it is shown, in pixels.
    """

    name: str
    caption: str
    source: str
    width: int
    height: int

    @property
    def ratio(self) -> float:
        """The width divided by the height."""
        return round(self.width / self.height, 3)


def embed_images(
    paths: Sequence[tuple[Path, Path]],
    translate: Translate = TO_ENGLISH,
    shape: Any = None,
    max_bytes: int = MAX_BYTES,
    max_images: int = MAX_IMAGES,
) -> tuple[dict[Path, EmbeddedImage], list[Path]]:
    """Embed images, each compressed to an equal share of `max_bytes`.

    Bytes that small images do not need are left to larger ones.

    Arguments:
        paths: Pairs of the path of an image and its run folder.
        shape: The shape of one x, which decides what the captions say.
        max_images: Images after the first `max_images` are left out.

    Returns:
        The images by path, and the paths of those that were left out or cannot be read.
    """
    embedded, missing = {}, [path for path, _ in paths[max_images:]]
    remaining = max_bytes
    by_size = sorted(paths[:max_images], key=lambda pair: pair[0].stat().st_size)
    for number, (path, folder) in enumerate(by_size):
        try:
            with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
                content, kind, size = _compress_image(path, remaining // (len(by_size) - number))
        except UNREADABLE:
            missing.append(path)
            continue
        remaining -= len(content)
        source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        name = path.relative_to(folder).as_posix()
        embedded[path] = EmbeddedImage(name, make_caption(path, translate, shape), source, *size)
    return {path: embedded[path] for path, _ in paths if path in embedded}, sorted(missing)


def make_caption(path: Path, translate: Translate = TO_ENGLISH, shape: Any = None) -> str:
    """Return the caption of an image, made from the name of its file and folder."""
    words = path.stem.replace("_", " ").replace("-", " ")
    is_table = isinstance(shape, Sequence) and len(shape) == 1
    captions = {**CAPTIONS, **TABLE_CAPTIONS} if is_table else CAPTIONS
    caption = name_data_in(translate, shape)(captions.get(path.stem, words))
    return caption if path.parent.name == "figures" else f"{path.parent.name}: {caption}"


def _compress_image(path: Path, max_bytes: int) -> tuple[bytes, str, tuple[int, int]]:
    """Return a png file in at most `max_bytes`: as it is, or as webp at a reduced size.

    Returns:
        The content, its format, and the original size in pixels.

    Raises:
        UserError: If it does not fit with a longer edge of MIN_EDGE pixels.
    """
    with Image.open(path, formats=("PNG",)) as image:
        size = image.size
        if path.stat().st_size <= max_bytes:
            image.verify()
            return path.read_bytes(), "png", size
    with Image.open(path, formats=("PNG",)) as image:
        original = image.convert("RGBA")
    for scale in SCALES:
        if scale < 1 and scale * max(size) < MIN_EDGE:
            break
        reduced = original.resize([max(1, round(scale * edge)) for edge in size])
        buffer = io.BytesIO()
        reduced.save(buffer, "webp", quality=80 if scale == 1 else 70, method=2)
        if buffer.tell() <= max_bytes:
            return buffer.getvalue(), "webp", size
    raise UserError(f"{path} does not fit in {max_bytes} bytes")
