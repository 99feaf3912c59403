"""Pictures as text inside the page, made smaller where all of them would be too much."""

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

BUDGET = 3_300_000  # bytes of all pictures of a page; base64 adds a third
MOST = 250  # pictures of a page; shares of more would be too small to see anything
SCALES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
UNREADABLE = (
    *(OSError, ValueError, SyntaxError),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
LEAST = 80  # pixels of the longer edge; below it nothing can be seen
CAPTIONS = {
    "reconstructions": "Validation images, each row above the row of its reconstructions",
    "samples": "Means of p(x|z) for codes z drawn from the prior",
    "traversals": "One latent dimension at a time, the others held",
    "walks": "Ways between the codes of two images",
    "map": "Where the codes of images lie, coloured by label",
    "aggregate": "q(z), the codes of all images, against the prior p(z)",
    "kl_per_dimension": "KL by latent dimension in the course of training",
    "curves": "ELBO, reconstruction and KL in the course of training",
}


@dataclass(frozen=True)
class EmbeddedImage:
    """A picture in the page.

    Attributes:
        name: Its file in the run folder, such as figures/samples.png.
        source: data:image/...;base64,...
    """

    name: str
    caption: str
    source: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        return self.width > 1.7 * self.height


def embed_images(
    paths: Sequence[tuple[Path, Path]], budget: int = BUDGET, most: int = MOST
) -> tuple[dict[Path, EmbeddedImage], list[Path]]:
    """Pictures (path, run folder) by their paths, and those there was no room for or no reading.

    The first `most` of them get equal shares of the budget; what small ones leave is for the
    larger.
    """
    found, missing = {}, [path for path, _ in paths[most:]]
    left = budget
    by_size = sorted(paths[:most], key=lambda pair: pair[0].stat().st_size)
    for done, (path, folder) in enumerate(by_size):
        try:
            with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
                content, kind, size = _fitted(path, left // (len(by_size) - done))
        except UNREADABLE:
            missing.append(path)
            continue
        left -= len(content)
        source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        name = path.relative_to(folder).as_posix()
        found[path] = EmbeddedImage(name, caption(path), source, *size)
    return {path: found[path] for path, _ in paths if path in found}, sorted(missing)


def caption(path: Path) -> str:
    words = path.stem.replace("_", " ").replace("-", " ")
    if path.parent.name == "figures":
        return CAPTIONS.get(path.stem, words)
    return f"{path.parent.name}: {words}"


def _fitted(path: Path, room: int) -> tuple[bytes, str, tuple[int, int]]:
    """A picture in at most `room` bytes, its format, and the size that it is meant to have."""
    with Image.open(path, formats=("PNG",)) as picture:
        size = picture.size
        if path.stat().st_size <= room:
            picture.verify()
            return path.read_bytes(), "png", size
    with Image.open(path, formats=("PNG",)) as picture:
        whole = picture.convert("RGBA")
    for scale in SCALES:
        if scale < 1 and scale * max(size) < LEAST:
            break
        smaller = whole.resize([max(1, round(scale * edge)) for edge in size])
        buffer = io.BytesIO()
        smaller.save(buffer, "webp", quality=80 if scale == 1 else 70, method=2)
        if buffer.tell() <= room:
            return buffer.getvalue(), "webp", size
    raise ValueError(f"{path} does not fit in {room} bytes")
