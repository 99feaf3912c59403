"""A look at a data set before the training: one line, warnings, or a refusal.

Numbers of values and rows are computed from at most MAX_ROWS training images and MAX_BYTES, evenly
spaced, so that a large data set costs less than a second; the description says how many.
"""

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaelab.data.base import Binarize, DataModule
from vaelab.distributions.masked import fill_from_other_rows
from vaelab.distributions.pixels import Pixels
from vaelab.runtime.errors import UserError
from vaelab.runtime.metric_names import name_data
from vaelab.runtime.slurm import is_worker_rank

log = logging.getLogger(__name__)

MAX_ROWS = 10_000  # images that are examined
MAX_BYTES = 2**27  # of the examined images
MIN_ROWS = 100  # images that are examined even if they are larger
CHUNK_ROWS = 1_000
MIN_IMAGE_EDGE = 8  # a series of so many channels may be an image without its channel
DARK_LEVEL = 63  # of 255; images with no brighter pixel are nearly black
LARGE_VALUE = 16  # real data beyond it are probably not standardized
SMALL_DEVIATION = 0.01  # real data below it are probably not standardized
MAX_NAMED = 5  # columns in a warning
KINDS: dict[Pixels, str] = {
    "binary": "binary pixels",
    "levels": "256 levels",
    "dequantized": "256 levels, dequantized",
    "real": "real numbers",
    "count": "counts",
    "mixed": "columns of several kinds",
}
BINARIZATION: dict[Binarize, list[str]] = {
    "none": [],
    "dynamic": ["training pixels are sampled as 0 or 1 each time they are seen"],
    "fixed": ["pixels were sampled as 0 or 1 once"],
}


@dataclass(frozen=True)
class DataDescription:
    """What was read.

    Attributes:
        sizes: The number of images in each split.
        shape: The shape of one x.
        pixels: The kind of pixels that the model sees.
        low, high: The smallest and largest value of the examined images that the model sees.
        labels: The labels in words.
        examined: The number of training images that the following numbers are of.
        constant: The number of images with one value in all pixels, or of columns with one value.
        duplicates: The number of images that are equal to an earlier one.
        shared: The number of test images, of the first `examined`, that are equal to one of the
            examined training images.
        missing: The number of missing values of the training images.
        conversions: Sentences about what was converted.
        warnings: Sentences about what is probably not meant.
    """

    sizes: dict[str, int]
    shape: tuple[int, ...]
    pixels: Pixels
    low: float
    high: float
    labels: str
    examined: int
    constant: int
    duplicates: int
    shared: int
    missing: int = 0
    conversions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The description in one line."""
        sizes = ", ".join(f"{size:,} {name}" for name, size in self.sizes.items())
        if len(self.shape) == 1:
            what = f"rows of {_count(self.shape[0], 'column')}"
        elif len(self.shape) == 2:
            channels, length = self.shape
            what = f"series of {_count(channels, 'channel')} and {_count(length, 'step')}"
        else:
            noun = "volumes" if len(self.shape) == 4 else "images"
            what = f"{noun} {'x'.join(map(str, self.shape))}"
        values = f"{name_data(KINDS[self.pixels], self.shape)} in [{self.low:.4g}, {self.high:.4g}]"
        text = f"data: {sizes} {what}, {values}, {self.labels}"
        return "; ".join([text, *self.conversions])

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain values, for data.json."""
        return asdict(self) | {"shape": list(self.shape)}


def announce_data(data: DataModule) -> DataDescription:
    """Print the description of a data set that was set up, and its warnings, the first time.

    Raises:
        UserError: If all training images are equal.
    """
    if data.description is None:
        data.description = describe_splits(data)
        if not is_worker_rank():
            print(data.description.line)
            for warning in data.description.warnings:
                log.warning(warning)
    return data.description


def describe_splits(data: DataModule) -> DataDescription:
    """Describe the splits of a data set that was set up.

    Raises:
        UserError: If all training images are equal.
    """
    train = data.splits["train"].images
    _check_not_all_equal(train, data.conversions)
    rows = _choose_rows(train)
    is_table = len(data.shape) == 1
    hashes = _hash_rows(rows)
    train_hashes = set(hashes)
    test = _hash_rows(data.splits["test"].images[: len(rows)])
    missing = _count_missing(train) if data.has_missing else None
    rows = fill_from_other_rows(rows) if data.has_missing else rows
    constant = _find_constant(rows, is_table)
    extremes = [data.prepare(part).aminmax() for part in rows.split(CHUNK_ROWS)]
    low, high = min(x.item() for x, _ in extremes), max(x.item() for _, x in extremes)
    description = DataDescription(
        sizes={name: len(split.images) for name, split in data.splits.items()},
        shape=tuple(data.shape),
        pixels=data.pixels,
        low=low,
        high=high,
        labels=describe_labels(data.splits["train"].labels),
        examined=len(rows),
        constant=len(constant),
        duplicates=len(hashes) - len(train_hashes),
        shared=sum(each in train_hashes for each in test),
        missing=0 if missing is None else int(missing.sum()),
        conversions=[
            *data.conversions,
            *(name_data(text, data.shape) for text in BINARIZATION[data.binarize]),
            *([] if missing is None else [_describe_missing(data, missing, len(train))]),
        ],
    )
    description.warnings.extend(_find_warnings(data, description, rows, constant))
    return description


def _count_missing(images: Tensor) -> Tensor:
    """Return the number of missing values of each entry (*shape)."""
    counts = torch.zeros(images.shape[1:], dtype=torch.long)
    for part in images.split(CHUNK_ROWS):
        counts += part.isnan().sum(0)
    return counts


def _describe_missing(data: DataModule, missing: Tensor, rows: int) -> str:
    """Say how many values are missing, and in which columns of a table most of them.

    Arguments:
        missing: The number of missing values of each entry (*shape).
        rows: The number of rows.
    """
    count = int(missing.sum())
    percent = 100 * count / (rows * missing.numel())
    text = f"{count:,} training values are missing ({percent:.3g} % of all)"
    if len(data.shape) > 1 or not count:
        return text
    worst = missing.argsort(descending=True, stable=True)[:MAX_NAMED].tolist()
    names = list_column_names(data)
    named = [f"{int(missing[n]):,} in {names[n]}" for n in worst if missing[n] > 0]
    more = ", ..." if int((missing > 0).sum()) > MAX_NAMED else ""
    return f"{text}: {', '.join(named)}{more}"


def list_column_names(data: DataModule) -> Sequence[str]:
    """Return the names of the columns of a table."""
    names = getattr(data, "columns", ())
    if len(names) == data.shape[0]:
        return names
    return [f"x[:, {n}]" for n in range(data.shape[0])]


def describe_labels(y: Tensor) -> str:
    """Describe labels (N,) or (N, attributes) in words."""
    if y.ndim == 1 and y.is_floating_point():
        return "one number as label"
    if y.ndim == 1:
        count = len(y.unique())
        return f"{count} label" + "s" * (count != 1)
    if y.shape[1] == 0:
        return "no labels"
    return f"{y.shape[1]} attribute" + "s" * (y.shape[1] != 1)


def _count(number: int, noun: str) -> str:
    """Return a number with a noun, such as 1 column or 2 columns."""
    return f"{number} {noun}" + "s" * (number != 1)


def _check_not_all_equal(images: Tensor, conversions: Sequence[str]) -> None:
    """Refuse training images that are all equal."""
    if len(images) < 2:
        return
    parts = images.split(CHUNK_ROWS)
    first = images[:1]
    if all(bool(((part == first) | (part.isnan() & first.isnan())).all()) for part in parts):
        hint = "look at the files, or at the arrays"
        if any("transparent" in text for text in conversions):
            hint = (
                "the files are transparent, and white shapes vanish on white: set "
                "data.background=black, or data.shape=[4,height,width] to keep the alpha channel"
            )
        text = f"all {len(images):,} training images are equal"
        raise UserError(f"{name_data(text, images.shape[1:])}: {hint}")


def _choose_rows(images: Tensor) -> Tensor:
    """Return the training images that are examined, evenly spaced."""
    size = max(1, math.prod(images.shape[1:]) * images.element_size())
    count = min(MAX_ROWS, max(MIN_ROWS, MAX_BYTES // size))
    return images[:: max(1, -(-len(images) // count))]


def _hash_rows(images: Tensor) -> list[bytes]:
    """Return a hash of each image."""
    rows = images.flatten(1).contiguous().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def _find_constant(rows: Tensor, is_table: bool) -> list[int]:
    """Return the numbers of the columns of a table, or of the images, that have one value only."""
    if len(rows) < 2 and is_table:
        return []
    axis = 0 if is_table else 1
    flat = rows.flatten(1)
    return (flat.amin(axis) == flat.amax(axis)).nonzero().flatten().tolist()


def _find_warnings(
    data: DataModule, description: DataDescription, rows: Tensor, constant: list[int]
) -> Iterator[str]:
    """Yield what is probably not meant."""
    noun, pixel = name_data("image", data.shape), name_data("pixel", data.shape)
    plural = name_data("images", data.shape)
    examined = f"of {description.examined:,} examined training {plural}"
    if len(data.shape) == 1 and constant:
        names = list_column_names(data)
        named = ", ".join(names[n] for n in constant[:MAX_NAMED])
        more = ", ..." if len(constant) > MAX_NAMED else ""
        yield f"data: {len(constant)} of {data.shape[0]} columns are constant: {named}{more}"
    elif constant:
        yield f"data: {len(constant):,} {examined} have the same value in all {pixel}s"
    if _looks_like_an_image(description):
        channels, length = description.shape
        yield (
            f"data: x of shape {list(data.shape)} is taken as series of {channels} channels and "
            f"{length} steps: if they are images, set data.shape=[1,{channels},{length}]"
        )
    brightest = rows.max().item() * (255 if rows.is_floating_point() else 1)
    if description.pixels in ("levels", "dequantized") and brightest <= DARK_LEVEL:
        yield (
            f"data: the largest of 256 levels is {brightest:.0f}, so the {plural} are nearly "
            "black: if it is the brightest possible one, set data.scale to it for arrays, or "
            "data.depth for files with more than 8 bits"
        )
    if description.pixels == "real":
        yield from _find_unscaled(rows, description, is_guessed=data.kind == "auto")
    if len(data.shape) > 1 and 100 * description.duplicates > description.examined:
        yield f"data: {description.duplicates:,} {examined} are equal to another one"
    if len(data.shape) > 1 and 100 * description.shared > description.examined:
        yield f"data: {description.shared:,} test {plural} are equal to a training {noun}"
    yield from _find_unknown_classes(data)


def _looks_like_an_image(description: DataDescription) -> bool:
    """True if x (C, L) is probably a grayscale image without a dimension for its channel."""
    if len(description.shape) != 2 or description.shape[0] < MIN_IMAGE_EDGE:
        return False
    return description.pixels != "real" or description.shape[0] == description.shape[1]


def _find_unscaled(rows: Tensor, description: DataDescription, is_guessed: bool) -> Iterator[str]:
    """Say that real values are not scaled if they look like levels or counts, or are large.

    Arguments:
        is_guessed: True if the user did not say that they are real.
    """
    low, high = description.low, description.high
    is_whole = bool((rows == rows.floor()).all())
    if is_whole and is_guessed and low >= 0 and high > 1:
        yield (
            f"data: x holds whole numbers from {low:g} to {high:g}, which are taken as real "
            f"numbers and are not scaled: if they are counts, set data.kind=count, and if they are "
            f"levels of a pixel, data.scale={guess_full_scale(high):g}"
        )
    elif max(-low, high) > LARGE_VALUE:
        hint = "standardize the columns"
        if len(description.shape) > 1 and low >= 0:
            hint = f"set data.scale={guess_full_scale(high):g}"
        yield (
            f"data: x holds real numbers in [{low:.4g}, {high:.4g}], which are not scaled: "
            f"training is easier with values of about 1, so {hint}"
        )
    elif (deviation := rows.std(0, correction=0).mean().item()) < SMALL_DEVIATION:
        yield (
            f"data: the standard deviation of x is {deviation:.3g} on average, and x is not "
            "scaled: "
            "training is easier with values of about 1, so standardize the columns, or set "
            f"data.scale={deviation:.1g}"
        )


def guess_full_scale(high: float) -> float:
    """Return the largest value of the usual range that ends at or above `high`."""
    usual = (16, 255, 1023, 4095, 16383, 65535)
    return float(next((value for value in usual if value >= high), math.ceil(high)))


def _find_unknown_classes(data: DataModule) -> Iterator[str]:
    """Say which classes of validation and test images have no training image."""
    labels = {name: split.labels for name, split in data.splits.items()}
    if any(y.ndim != 1 or y.is_floating_point() for y in labels.values()):
        return
    known = set(labels["train"].unique().tolist())
    for name in ("val", "test"):
        counts = Counter(labels[name].tolist())
        if unknown := sorted(counts.keys() - known):
            named = ", ".join(map(str, unknown[:MAX_NAMED])) + ", ..." * (len(unknown) > MAX_NAMED)
            text = f"data: the {name} images have labels that no training image has: {named}"
            yield name_data(text, data.shape)
