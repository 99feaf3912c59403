"""Files of published data sets: where they must lie, and their checksums."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.functional import pad

from vaelab.runtime.errors import MissingFileError, UserError


def find_published_file(root: str, folder: str, names: Iterable[str], source: str) -> Path:
    """Return the first of some files that exists in <root>/<folder> or in <root>.

    Arguments:
        root: The folder of all data sets, data.root.
        folder: The folder of this data set in it.
        names: The names that the file may have.
        source: Where the file can be downloaded.

    Raises:
        MissingFileError: If none of them exists.
    """
    names = list(names)
    for path in (Path(root, below, name) for below in (folder, "") for name in names):
        if path.is_file():
            return path
    raise MissingFileError(
        f"{Path(root, folder)} lacks {' or '.join(names)}: download it from {source} and put it "
        f"there, or set data.root or VAELAB_DATA to the folder that contains {folder}"
    )


def check_md5(path: Path, md5: str, hint: str = "replace it with the original file") -> None:
    """Check that a file is the published one.

    Raises:
        UserError: If its MD5 hash differs.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise UserError(f"{path} is truncated or altered (its MD5 hash is not {md5}): {hint}")


def check_padding(shape: Sequence[int], native_shape: tuple[int, int, int]) -> None:
    """Check that images of `native_shape` (C, side, side) can be padded evenly to `shape`.

    Raises:
        UserError: If they cannot.
    """
    channels, side, _ = native_shape
    borders = {(edge - side) / 2 for edge in shape[1:]}
    if len(shape) != 3 or shape[0] != channels or any(n < 0 or n % 1 for n in borders):
        raise UserError(
            f"data.shape={list(shape)}, but these images have shape {list(native_shape)} and can "
            "only be padded by an even number of pixels: set "
            f"data.shape=[{channels},{side},{side}], or a larger one as in "
            f"data.shape=[{channels},{side + 4},{side + 4}]"
        )


def pad_images(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Pad images (N, C, H, W) with black on all sides, to `shape`."""
    height, width = (
        (large - small) // 2 for large, small in zip(shape[1:], images.shape[2:], strict=True)
    )
    return pad(images, (width, width, height, height)) if height or width else images
