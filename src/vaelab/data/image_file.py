"""One picture file of any kind to uint8 of the asked shape."""

import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

# Others that PIL knows are no pictures of a data set; to read EPS, it starts a program.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF", "PPM", "TIFF")
LARGEST = 2**28  # bytes of a file; a picture of as many pixels as are taken has no more


def check_image_shape(shape: Sequence[int], crop: int | None) -> None:
    """Refuse a shape or a crop that no picture can have."""
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1:
        raise ValueError(
            f"data.shape={list(shape)}: pictures are [3,height,width] or, grey, [1,height,width]"
        )
    if crop is not None and crop < 1:
        raise ValueError(f"data.crop={crop}: it must be at least 1, or null for none")


def read_image(
    name: str,
    read: Callable[[str], bytes],
    shape: Sequence[int],
    crop: int | None,
    instead: str,
) -> Tensor:
    """The file read(name) as uint8 of `shape`, or a ValueError that names it and says `instead`."""
    try:
        image = _decoded(read(name)).convert("L" if shape[0] == 1 else "RGB")
        image = _fitted(image, shape[1], shape[2], crop)
    except Exception as error:  # decoders raise almost anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} cannot be read as a picture ({reason}): {instead}") from error
    return torch.from_numpy(np.array(image)).view(*shape[1:], shape[0]).permute(2, 0, 1)


def check_size(size: int) -> None:
    """Refuse a file that is unpacked, or read, to more bytes than a picture can have."""
    if size > LARGEST:
        raise ValueError(f"it has {size} bytes, more than {LARGEST}")


def read_contents(path: str) -> bytes:
    """What a picture file holds."""
    if not os.path.isfile(path):  # to open a pipe would be to wait for ever
        raise ValueError("there is no such file")
    check_size(os.path.getsize(path))
    return Path(path).read_bytes()


def check_link(path: Path, root: Path) -> None:
    """Refuse a link that leads out of the folder of a data set."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(
            f"{path} is a link that leads out of data.root={root}: put there what it leads to, or "
            "set data.root to a folder above both"
        )


def _decoded(content: bytes) -> Image.Image:
    """The picture upright, opaque and in 8 bits.

    By PIL, because torchvision's decoders, twice as fast, are deprecated since torchvision 0.29.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:
            raise ValueError("its format is unknown") from None
        return _opaque(_eight_bits(ImageOps.exif_transpose(image)))


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _fitted(image: Image.Image, height: int, width: int, crop: int | None) -> Image.Image:
    """The largest part with these proportions, about the centre, resized without aliasing."""
    wide, high = (edge if crop is None else min(edge, crop) for edge in image.size)
    part = min(wide, round(high * width / height)), min(high, round(wide * height / width))
    part = [max(1, edge) for edge in part]
    left, top = (round((edge - kept) / 2) for edge, kept in zip(image.size, part, strict=True))
    image = image.crop((left, top, left + part[0], top + part[1]))
    return image.resize((width, height), Image.Resampling.BILINEAR)
