"""Decode one image file of any format to uint8 of a given shape."""

import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vaelab.runtime.errors import UserError

# PIL opens more formats, but they are not images of a data set, and for EPS it starts a program.
PIL_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF", "PPM", "TIFF")
MAX_FILE_BYTES = 2**28  # the largest number of pixels that PIL accepts, at 3 bytes each


def check_image_shape(shape: Sequence[int], crop: int | None) -> None:
    """Check the shape and the crop of a data set of images.

    Raises:
        UserError: If shape is not (1 or 3, height, width), or if crop is below 1.
    """
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1:
        raise UserError(
            f"data.shape={list(shape)}: set data.shape=[3,height,width] for color images, or "
            "[1,height,width] for grayscale, as in data.shape=[3,64,64]"
        )
    if crop is not None and crop < 1:
        raise UserError(
            f"data.crop={crop}: it must be at least 1, or null for images that are not cropped"
        )


def read_image(
    name: str,
    read: Callable[[str], bytes],
    shape: Sequence[int],
    crop: int | None,
    instead: str,
) -> Tensor:
    """Decode the image file read(name), and crop and resize it to `shape`.

    Arguments:
        name: The file, as the error message names it.
        read: Returns the bytes of the file.
        shape: (3, height, width), or (1, height, width) for grayscale.
        crop: The side of the central square that is cut out first; None = no crop.
        instead: What the user can do if the file cannot be decoded; the end of the error message.

    Returns:
        uint8 of `shape`.

    Raises:
        UserError: If the file cannot be read or decoded, or has too many pixels to be safe.
    """
    try:
        image = _decode(read(name)).convert("L" if shape[0] == 1 else "RGB")
        image = _crop_and_resize(image, shape[1], shape[2], crop)
    except Exception as error:  # decoders raise almost any exception on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} cannot be read as an image ({reason}): {instead}") from error
    return torch.from_numpy(np.array(image)).view(*shape[1:], shape[0]).permute(2, 0, 1)


def check_file_size(size: int) -> None:
    """Refuse a file, or a member of a zip, with more bytes than an image can have.

    Raises:
        UserError: If size is above MAX_FILE_BYTES.
    """
    if size > MAX_FILE_BYTES:
        raise UserError(f"it has {size} bytes, but at most {MAX_FILE_BYTES} are allowed")


def read_file_bytes(path: str) -> bytes:
    """Read a file that exists, is a regular file, and is not too large.

    Raises:
        UserError: If it is none of these.
    """
    if not os.path.isfile(path):  # opening a pipe would wait forever
        raise UserError("there is no such file")
    check_file_size(os.path.getsize(path))
    return Path(path).read_bytes()


def check_link_stays_inside(path: Path, root: Path) -> None:
    """Refuse a symbolic link that leads out of the folder of a data set.

    Raises:
        UserError: If path resolves to a file outside root.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{path} is a symbolic link that leads out of {root}: replace it with what "
            "it leads to, or set data.root to a folder that contains both"
        )


def _decode(content: bytes) -> Image.Image:
    """Decode an image and make it upright, opaque and 8-bit.

    PIL is used because torchvision's decoders, though twice as fast, are deprecated since
    torchvision 0.29.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content), formats=PIL_FORMATS)
        except UnidentifiedImageError:
            raise UserError("its format is unknown") from None
        return _composite_on_white(_reduce_to_eight_bits(ImageOps.exif_transpose(image)))


def _reduce_to_eight_bits(image: Image.Image) -> Image.Image:
    """Reduce 16-bit pixels to their upper 8 bits."""
    if image.mode == "F":
        raise UserError("its pixels are floats, whose range is unknown")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UserError("its pixels have more than 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _composite_on_white(image: Image.Image) -> Image.Image:
    """Replace transparency by a white background."""
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _crop_and_resize(image: Image.Image, height: int, width: int, crop: int | None) -> Image.Image:
    """Cut out the largest central part with these proportions and resize it, antialiased."""
    max_width, max_height = (edge if crop is None else min(edge, crop) for edge in image.size)
    part = [
        min(max_width, round(max_height * width / height)),
        min(max_height, round(max_width * height / width)),
    ]
    part = [max(1, edge) for edge in part]
    left, top = (round((edge - kept) / 2) for edge, kept in zip(image.size, part, strict=True))
    image = image.crop((left, top, left + part[0], top + part[1]))
    return image.resize((width, height), Image.Resampling.BILINEAR)
