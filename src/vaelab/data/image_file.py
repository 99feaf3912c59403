"""Decode one image file of any format to uint8 of a given shape."""

import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vaelab.runtime.errors import UserError

# PIL opens more formats, but they are not images of a data set, and for EPS it starts a program.
PIL_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF", "PPM", "TIFF")
MAX_FILE_BYTES = 2**28  # the largest number of pixels that PIL accepts, at 3 bytes each
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of PIL, by the number of channels
DEPTHS = (8, 10, 12, 14, 16)  # the bits that files of 16 bits usually use
REDUCED_RESOLUTION = 1  # bit of TIFF's tag NewSubfileType: the page is a small copy of another
NEW_SUBFILE_TYPE = 254


RESIZE_FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Conversion(NamedTuple):
    """How the values in a file become the 8-bit values of an image.

    Attributes:
        depth: The bits that the values of 16-bit files use; the upper 8 of these are kept.
        background: The gray level, 0 to 255, that transparent images are laid over.
        page: The page of files with several pages, or frames; None refuses such files.
        resize: The filter of the resize, one of RESIZE_FILTERS; all are antialiased.
    """

    depth: int = 16
    background: int = 255
    page: int | None = 0
    resize: str = "bilinear"


DEFAULT_CONVERSION = Conversion()


class FileFacts(NamedTuple):
    """What a file contains.

    Attributes:
        size: Width and height in pixels.
        is_color: True if it has more than one color channel.
        is_transparent: True if it has an alpha channel or a transparent color.
        pages: The numbers of its pages, without small copies of other pages.
        largest: The largest value of a 16-bit file, without alpha; None for other files.
    """

    size: tuple[int, int]
    is_color: bool
    is_transparent: bool
    pages: list[int]
    largest: int | None


def check_image_shape(
    shape: Sequence[int], crop: int | None, channels: Sequence[int] = (1, 3)
) -> None:
    """Check the shape and the crop of a data set of images.

    Arguments:
        channels: The possible numbers of channels.

    Raises:
        UserError: If shape is not (channels, height, width), or if crop is below 1.
    """
    if len(shape) != 3 or shape[0] not in channels or min(shape) < 1:
        with_alpha = ", or [4,height,width] to keep the alpha channel" if 4 in channels else ""
        raise UserError(
            f"data.shape={list(shape)}: set data.shape=[3,height,width] for color images, or "
            f"[1,height,width] for grayscale{with_alpha}, as in data.shape=[3,64,64]"
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
    conversion: Conversion = DEFAULT_CONVERSION,
) -> Tensor:
    """Decode the image file read(name), and crop and resize it to `shape`.

    Arguments:
        name: The file, as the error message names it.
        read: Returns the bytes of the file.
        shape: (3, height, width), (1, height, width) for grayscale, or (4, height, width) for color
            and alpha.
        crop: The side of the central square that is cut out first; None = no crop.
        instead: What the user can do if the file cannot be decoded; the end of the error message.
        conversion: What becomes of more than 8 bits, of transparency and of several pages, and
            the filter of the resize.

    Returns:
        uint8 of `shape`.

    Raises:
        UserError: If the file cannot be read or decoded, or has too many pixels to be safe.
    """
    try:
        image = _decode(read(name), conversion, has_alpha=shape[0] == 4).convert(MODES[shape[0]])
        image = _crop_and_resize(image, shape[1], shape[2], crop, conversion.resize)
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


def inspect_file(content: bytes) -> FileFacts:
    """Return what an image file contains; only the pixels of 16-bit files are decoded."""
    image = _open(content)
    pages = _list_pages(image)
    image.seek(pages[0])
    largest = None
    if _has_sixteen_bits(image):
        values = _read_sixteen_bits(image, content)
        largest = int((values[..., :3] if values.ndim == 3 else values).max())
    return FileFacts(
        image.size,
        image.mode not in ("1", "L", "LA", "La") and not image.mode.startswith(("I", "F")),
        _is_transparent(image),
        pages,
        largest,
    )


def choose_depth(largest: int) -> int:
    """Return the smallest usual number of bits for values from 0 to `largest`."""
    return next((depth for depth in DEPTHS if largest < 2**depth), DEPTHS[-1])


def _decode(content: bytes, conversion: Conversion, has_alpha: bool) -> Image.Image:
    """Decode an image and make it upright, 8-bit, and opaque unless has_alpha is True.

    PIL is used because torchvision's decoders, though twice as fast, are deprecated since
    torchvision 0.29.
    """
    image = _open(content)
    if conversion.page is None and len(pages := _list_pages(image)) > 1:
        raise UserError(
            f"it has {len(pages)} pages: set data.pages=first, or data.pages=all for one image for "
            "each page"
        )
    if conversion.page:
        image.seek(conversion.page)
    if _has_sixteen_bits(image):
        image = _reduce_to_eight_bits(_read_sixteen_bits(image, content), conversion.depth)
    elif image.mode == "F":
        raise UserError("its pixels are floats, whose range is unknown")
    else:
        image = ImageOps.exif_transpose(image)
    return image if has_alpha else _lay_over_background(image, conversion.background)


def _open(content: bytes) -> Image.Image:
    """Open an image; its pixels are decoded later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return Image.open(io.BytesIO(content), formats=PIL_FORMATS)
        except UnidentifiedImageError:
            raise UserError("its format is unknown") from None


def _list_pages(image: Image.Image) -> list[int]:
    """Return the numbers of the pages of a file, without small copies of other pages.

    The previews in a JPEG file of a camera are no pages.
    """
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format in ("MPO", "JPEG"):
        return [0]
    if image.format != "TIFF":
        return list(range(count))
    pages = []
    for number in range(count):
        image.seek(number)
        kind = image.tag_v2.get(NEW_SUBFILE_TYPE, 0)  # type: ignore[attr-defined]
        if not kind & REDUCED_RESOLUTION:
            pages.append(number)
    image.seek(0)
    return pages or [0]


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info


def _get_raw_mode(image: Image.Image) -> str:
    """Return the layout of the values in a file that was not decoded yet, as in RGB;16B."""
    tiles = getattr(image, "tile", ())
    args: Any = tiles[0][3] if tiles else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _has_sixteen_bits(image: Image.Image) -> bool:
    return image.mode.startswith("I") or ";16" in _get_raw_mode(image)


def _read_sixteen_bits(image: Image.Image, content: bytes) -> np.ndarray:
    """Return the values (height, width) or (height, width, channels) of an upright 16-bit image.

    PIL decodes 16-bit colors to their upper bytes. A second pass in the other byte order gives the
    lower bytes.
    """
    if image.mode.startswith("I"):
        values = np.asarray(ImageOps.exif_transpose(image))
        if values.min() < 0 or values.max() > 65535:
            raise UserError("its pixels have more than 16 bits")
        return values.astype(np.uint16)
    page, raw_mode = image.tell(), _get_raw_mode(image)
    is_big = raw_mode.endswith("B") or (raw_mode.endswith("N") and sys.byteorder == "big")
    swapped = raw_mode[:-1] + ("L" if is_big else "B")
    upper = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
    if image.mode not in ("RGB", "RGBA"):  # PIL has one byte order for LA
        return upper << 8
    other: Any = _open(content)
    other.seek(page)
    other.tile = [
        tile._replace(args=(swapped, *tile[3][1:]) if isinstance(tile[3], tuple) else swapped)
        for tile in other.tile
    ]
    return upper << 8 | np.asarray(ImageOps.exif_transpose(other))


def _reduce_to_eight_bits(values: np.ndarray, depth: int) -> Image.Image:
    """Reduce 16-bit values to the upper 8 of `depth` bits; alpha always has 16 bits."""
    has_alpha = values.ndim == 3 and values.shape[2] in (2, 4)
    colors = values[..., :-1] if has_alpha else values
    if colors.max() >= 2**depth:
        raise UserError(
            f"its largest value is {colors.max()}, which has more than {depth} bits: set "
            f"data.depth={choose_depth(int(colors.max()))}"
        )
    eight = colors >> (depth - 8)
    if has_alpha:
        eight = np.concatenate([eight, values[..., -1:] >> 8], -1)
    return Image.fromarray(eight.astype(np.uint8))


def _lay_over_background(image: Image.Image, level: int) -> Image.Image:
    """Replace transparency by a background of a gray level."""
    if not _is_transparent(image):
        return image
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, (level, level, level, 255))
    return Image.alpha_composite(background, image)


def _crop_and_resize(
    image: Image.Image, height: int, width: int, crop: int | None, resize: str
) -> Image.Image:
    """Cut out the largest central part with these proportions and resize it, antialiased."""
    max_width, max_height = (edge if crop is None else min(edge, crop) for edge in image.size)
    part = [
        min(max_width, round(max_height * width / height)),
        min(max_height, round(max_width * height / width)),
    ]
    part = [max(1, edge) for edge in part]
    left, top = (round((edge - kept) / 2) for edge, kept in zip(image.size, part, strict=True))
    image = image.crop((left, top, left + part[0], top + part[1]))
    return image.resize((width, height), RESIZE_FILTERS[resize])
