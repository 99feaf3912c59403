"""The contract of a data set: a Lightning data module that keeps its images as tensors.

The tensors are in memory, or in a file that is mapped into memory, of which the page cache of the
system holds what was used last. Nothing here copies a whole split.

A data set is one file with a `DataModule` whose `load()` returns the three splits. Images keep the
dtype in which they are stored (uint8 0..255, or float32 for measurements) until a whole batch is on
the device. `prepare` then scales uint8 to [0, 1] and, with `data.binarize=dynamic`, samples binary
pixels. A split that takes less than a quarter of the free GPU memory is copied to the GPU as a
whole. NaN marks a missing value, where `data.missing` allows them.

Batches are (x, labels). The order of the images in an epoch is a pure function of (seed, epoch), so
that a run can stop after any batch and resume exactly. Under DDP, `batch_size` counts the images of
all processes together: with two processes, each trains on half of every batch and evaluates every
other batch.
"""

import hashlib
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from vaelab.data.augmentation import COMPUTING, augment, check_augmentations
from vaelab.data.mapped import make_scratch
from vaelab.distributions.pixels import Pixels
from vaelab.distributions.standardization import Standardization
from vaelab.runtime.distributed import rank_and_world_size
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_generator, uniform_per_image

if TYPE_CHECKING:
    from vaelab.data.description import DataDescription

Binarize = Literal["none", "dynamic", "fixed"]
Missing = Literal["refuse", "mask"]

# NumPy seeds of the fixed binarization of each split; all published results use these.
BINARIZATION_SEEDS = {"test": 0, "val": 1, "train": 2}
EVALUATION_BATCH = 128  # images; fixed, so that no number depends on data.batch_size
EVALUATION_VALUES = 2**22  # values in the images of such a batch, at most
CHUNK_VALUES = 2**20  # values that are converted at once
DELETION_ROWS = 1000  # of which values are deleted at once
MAX_GPU_FRACTION = 0.25  # largest part of the free GPU memory that one split may occupy


class Split(NamedTuple):
    """The images and labels of one split.

    Attributes:
        images: (N, *shape), uint8 or float32.
        labels: (N,) or (N, attributes); (N, 0) if the data set has no labels.
    """

    images: Tensor
    labels: Tensor


class DataModule(LightningDataModule):
    """The base class of a data set with the splits train, val and test; val may be empty.

    Attributes:
        features: The network, by its name in src/vaelab/features, whose features are compared when
            samples are evaluated against images of this data set.
        licence: The licence of the images, or None if it is unknown.
        factors: The names of the generative factors, if labels (N, factors) hold their values as
            integers from 0; otherwise empty.
        unordered: The names of the factors whose values have no order.
        is_binary: True if the images hold only 0 and 255, so that data.binarize changes nothing.
        kind: The setting `kind` of `vaelab.data.arrays.ArrayData` for x of the same kind.
        conversions: Sentences about what was converted when the data set was read, for its
            description.
        standardization: The mean and deviation with which the model sees x; None = as it is. An
            opened run sets those of its training.
        scratch: The folder for binarized pixels of mapped splits; None keeps them in memory.
        description: The description of the data set, once `announce_data` was called.
        truth: The images of each split before values were deleted, with data.missing_fraction.

    Arguments:
        shape: The shape of one x: (C,) for tables, (C, L) for series, (C, H, W) for images and
            (C, D, H, W) for volumes.
        binarize: none | dynamic | fixed. Pixels are treated as probabilities of a 1. With dynamic,
            training images are sampled again each time they are seen, and val and test images once;
            with fixed, all images are sampled once.
        batch_size: Images in one batch, summed over all processes. An optimizer step takes
            trainer.accumulate_grad_batches batches, by default one.
        seed: The seed of the order of the training images and of the dequantization noise in
            evaluation.
        dequantize: If true, level v of 256 becomes a real number, uniform in [v, v + 1] / 256, so
            that its density is bounded and gives bits/dim. The noise is new each time a training
            image is seen, and always the same in validation and evaluation.
        missing: refuse | mask. With mask, NaN marks a missing value: log p(x|z) is that of the
            observed values, and the encoder is told which they are.
        missing_fraction: The probability with which each value is deleted, for a measurement of how
            well a model imputes; above 0, it implies missing=mask. What is deleted depends on the
            seed, the image and the position only.

        augment: Random changes of training images: flip, crop, rotate, color, see
            `vaelab.data.augmentation`. The values of a training are then those of changed images.

    Raises:
        UserError: If an argument is out of range. `setup` raises it if the images do not fit the
            arguments, or if the train or test split is empty.
    """

    features: ClassVar[str] = "objects"
    licence: ClassVar[str | None] = None
    factors: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()
    is_binary: bool = False
    standardization: Standardization | None = None
    scratch: str | None = None
    kind: str | list[str] = "auto"

    def __init__(
        self,
        shape: Sequence[int],
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
        missing: Missing = "refuse",
        missing_fraction: float = 0.0,
        augment: Sequence[str] = (),
    ):
        super().__init__()
        if binarize not in ("none", "dynamic", "fixed"):
            raise UserError(f"data.binarize={binarize}: choose from none, dynamic, fixed")
        if batch_size < 1:
            raise UserError(f"data.batch_size={batch_size}: it must be at least 1")
        if seed < 0:
            raise UserError(f"data.seed={seed}: it must be at least 0")
        if self.is_binary and dequantize:
            raise UserError(
                "data.dequantize=true needs pixels with 256 levels, but those of this data set are "
                "binary: set data.dequantize=false"
            )
        if missing not in ("refuse", "mask"):
            raise UserError(f"data.missing={missing}: choose from refuse, mask")
        if not 0 <= missing_fraction < 1:  # also refuses NaN
            raise UserError(f"data.missing_fraction={missing_fraction}: it must be in [0, 1)")
        self.shape = tuple(shape)
        self.augment = check_augmentations(augment, shape) if augment else ()
        self.binarize: Binarize = "none" if self.is_binary else binarize
        self.batch_size = batch_size
        self.seed = seed
        self.dequantize = dequantize
        self.missing: Missing = missing
        self.missing_fraction = missing_fraction
        if dequantize and self.has_missing:
            raise UserError(
                "data.dequantize=true does not apply to data with missing values: set "
                "data.dequantize=false"
            )
        self.splits: dict[str, Split] = {}
        self.truth: dict[str, Tensor] = {}
        self.pixels_with_missing: Pixels | None = None
        self.bits_sha256: dict[str, str] = {}
        self.conversions: list[str] = getattr(self, "conversions", [])
        self.description: DataDescription | None = None

    @abstractmethod
    def load(self) -> Mapping[str, Split]:
        """Return the splits train, val and test.

        Files that `prepare_data` downloads or checks are in place when this is called.
        """

    def setup(self, stage: str | None = None) -> None:
        """Load the splits, check them against the arguments, and binarize them if asked to."""
        if self.splits:
            return
        self.splits = dict(self.load())
        for name, (images, _) in self.splits.items():
            image_shape = tuple(images.shape[1:])
            if image_shape != self.shape:
                raise UserError(
                    f"data.shape={list(self.shape)}, but the {name} images have shape "
                    f"{list(image_shape)}: set data.shape=[{','.join(map(str, image_shape))}]"
                )
        if len(self.splits["train"].images) == 0:
            raise UserError(
                "the train split has no images, but it needs at least one: add images, or lower "
                "data.validation or data.test"
            )
        if len(self.splits["test"].images) == 0:
            raise UserError(
                "the test split has no images, but it needs at least one: add images, or raise "
                "data.test"
            )
        is_uint8 = self.splits["train"].images.dtype == torch.uint8
        if self.dequantize and (self.binarize != "none" or not is_uint8):
            raise UserError(
                "data.dequantize=true needs pixels with 256 levels, but the pixels are "
                f"{self.pixels if is_uint8 else 'real numbers'}: set data.dequantize=false"
                + (" or data.binarize=none" if is_uint8 else "")
            )
        if self.binarize != "none":
            low, high = self.range
            if low < 0 or high > 1:
                raise UserError(
                    f"data.binarize={self.binarize} treats pixels as probabilities, but they lie "
                    f"in [{low:g}, {high:g}]: set data.binarize=none, or scale them to [0, 1]"
                )
            for name in ("train", "val", "test") if self.binarize == "fixed" else ("val", "test"):
                self.splits[name] = self._binarize_split(name)
        if self.has_missing:
            self.pixels_with_missing = self.pixels
            if self.missing_fraction:
                self.truth = {name: split.images for name, split in self.splits.items()}
                self.splits = {name: self._delete_values(*self.splits[name]) for name in self.truth}
            if self.splits["train"].images.isnan().all():
                raise UserError("no value of the train split is observed: look at the file")
        if self.augment:
            self._check_interpolation()
            self.conversions.append(
                f"training images are changed at random by {', '.join(self.augment)}, so values of "
                "the training are not those of the images themselves"
            )

    def _check_interpolation(self) -> None:
        """Refuse augmentations that compute new pixels, where these would be of another kind."""
        computing = [name for name in self.augment if name in COMPUTING]
        low, high = self.range
        reason = None
        if self.has_missing:
            reason = "some values are missing"
        elif self.binarize != "dynamic" and self.pixels in ("binary", "count"):
            reason = f"the pixels are {self.pixels}"
        elif "color" in computing and (low < 0 or high > 1):
            reason = f"the pixels lie in [{low:g}, {high:g}], not in [0, 1]"
        if computing and reason:
            raise UserError(
                f"data.augment=[{','.join(computing)}] computes new pixels, but {reason}: choose "
                "from flip, crop"
            )

    @property
    def has_missing(self) -> bool:
        """True if values may be missing, so that the model must be told which are observed."""
        return self.missing == "mask" or self.missing_fraction > 0

    def _delete_values(self, images: Tensor, labels: Tensor) -> Split:
        """Return a split in float32 with a fraction of its values replaced by NaN."""
        kept = torch.empty(images.shape)
        for index in torch.arange(len(images)).split(DELETION_ROWS):
            uniform = uniform_per_image(self.seed, index, self.shape)
            x = images[index]
            x = x / 255 if x.dtype == torch.uint8 else x
            kept[index] = torch.where(uniform < self.missing_fraction, torch.nan, x)
        return Split(kept, labels)

    def _binarize_split(self, name: str) -> Split:
        """Return a split with its pixels binarized by a fixed seed, and record their SHA-256."""
        images, labels = self.splits[name]
        bits = make_scratch(self.scratch, images.shape)
        random, digest = np.random.RandomState(BINARIZATION_SEEDS[name]), hashlib.sha256()
        for part, kept in zip(split_rows(images), split_rows(bits), strict=True):
            chances = part.flatten(1).numpy() / (255.0 if images.dtype == torch.uint8 else 1.0)
            sampled = random.random_sample(chances.shape) < chances
            digest.update(np.packbits(sampled, axis=1).tobytes())
            kept.copy_(torch.from_numpy(sampled).reshape(kept.shape)).mul_(255)
        self.bits_sha256[name] = digest.hexdigest()
        if images.isnan().any():
            return Split(torch.where(images.isnan(), torch.nan, bits / 255), labels)
        return Split(bits, labels)

    @property
    def column_kinds(self) -> tuple[str, ...]:
        """The kind of each column of a table with columns of different kinds; otherwise empty.

        See `vaelab.distributions.columns.parse_columns`.
        """
        return () if isinstance(self.kind, str) else tuple(self.kind)

    @property
    def pixels(self) -> Pixels:
        """The kind of pixels that the model sees.

        See `vaelab.distributions.pixels.Pixels`.
        """
        if self.column_kinds:
            return "mixed"
        if self.kind == "count":
            return "count"
        if self.is_binary or self.binarize != "none":
            return "binary"
        if self.pixels_with_missing is not None:
            return self.pixels_with_missing
        if self.dequantize:
            return "dequantized"
        if self.standardization is not None:
            return "real"
        return "levels" if self.splits["train"].images.dtype == torch.uint8 else "real"

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and largest possible value of a pixel that the model sees."""
        if self.standardization is None:
            return self.data_range
        splits = self.splits.values()
        return _find_extremes(self.prepare(x) for each in splits for x in split_rows(each.images))

    @property
    def data_range(self) -> tuple[float, float]:
        """The smallest and largest possible value of a pixel in the units of the data."""
        if self.bits_sha256:
            return 0.0, 1.0
        images = [split.images for split in self.splits.values() if len(split.images)]
        if images[0].dtype == torch.uint8:
            return 0.0, 1.0
        return _find_extremes(part for x in images for part in split_rows(x))

    @property
    def has_validation(self) -> bool:
        """True if the val split has at least one image."""
        return len(self.splits["val"].images) > 0

    def prepare(self, x: Tensor, fresh: bool = False, index: Tensor | None = None) -> Tensor:
        """Convert a batch of stored images to the floats that the model sees, on their device.

        Arguments:
            x: Stored images (B, *shape), uint8 or float32.
            fresh: True in training: binarized pixels and dequantization noise are new samples.
            index: The index of each image in its split (B,), which the dequantization noise in
                evaluation depends on; None means 0, 1, ...
        """
        if fresh and self.binarize == "dynamic":
            return _sample_bits(x)
        if self.dequantize and fresh:
            return (x + torch.rand(x.shape, device=x.device)) / 256
        if self.dequantize:
            index = torch.arange(len(x)) if index is None else index
            return (x + uniform_per_image(self.seed, index.to(x.device), x.shape[1:])) / 256
        x = x / 255 if x.dtype == torch.uint8 else x
        return x if self.standardization is None else self.standardization.apply(x)

    def on_after_batch_transfer(self, batch, dataloader_idx: int):
        x, y, *index = batch
        is_training = bool(self.trainer and self.trainer.training)
        if is_training and self.augment:
            x = augment(x, self.augment, self.seed, self.trainer.current_epoch, *index)  # type: ignore[union-attr]
        return self.prepare(x, is_training, *index), y

    def train_dataloader(self) -> "TrainingBatches":
        return TrainingBatches(
            self._copy_to_gpu_if_small("train"),
            self.batch_size,
            self.seed,
            *rank_and_world_size(),
            repeats_epoch=bool(self.trainer and self.trainer.overfit_batches),  # type: ignore[attr-defined]
            with_index=bool(self.augment),
        )

    def val_dataloader(self) -> "OrderedBatches | list[OrderedBatches]":
        return self._evaluation_loader("val") if self.has_validation else []

    def test_dataloader(self) -> "OrderedBatches":
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> "OrderedBatches":
        return self._evaluation_loader("test")

    def _evaluation_loader(self, name: str) -> "OrderedBatches":
        split = self._copy_to_gpu_if_small(name)
        return OrderedBatches(split, self.evaluation_batch, *rank_and_world_size())

    @property
    def evaluation_batch(self) -> int:
        """The number of images in a batch of validation and evaluation; it depends on shape only.

        The noise of a batch depends on its number, so numbers must not depend on `batch_size`.
        """
        return max(1, min(EVALUATION_BATCH, EVALUATION_VALUES // max(1, math.prod(self.shape))))

    def _copy_to_gpu_if_small(self, name: str) -> Split:
        """Return a split, on the GPU if it has room for it, so that no step waits for the CPU."""
        split = self.splits[name]
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if sum(part.nbytes for part in split) < MAX_GPU_FRACTION * free:
                return Split(*(part.to(device) for part in split))
        return split

    def batches(
        self, split: str, images: int | None = None, size: int | None = None
    ) -> "OrderedBatches":
        """Return the batches of a split in order, for evaluation; under DDP, this process's part.

        With binarize=dynamic, training images are binarized here by a fixed seed.

        Arguments:
            split: train | val | test.
            images: The number of images, a random subset that depends on the split only, in the
                order of the split; None = all.
            size: The number of images in a batch; None = `evaluation_batch`.

        Raises:
            UserError: If the split is empty.
        """
        is_resampled = self.binarize == "dynamic" and split == "train"
        whole = self._binarize_split(split) if is_resampled else self.splits[split]
        if len(whole.images) == 0:
            raise UserError(
                f"the {split} split has no images to evaluate: set data.validation above 0, or "
                "evaluate another split"
            )
        size = size or self.evaluation_batch
        if images is None or images >= len(whole.images):
            return OrderedBatches(whole, size, *rank_and_world_size())
        index = choose_subset(len(whole.images), images)
        subset = Split(*(part[index.to(part.device)] for part in whole))
        return OrderedBatches(subset, size, *rank_and_world_size(), index)


def choose_subset(count: int, size: int) -> Tensor:
    """Return the sorted indices (size,) of a random subset of `count` images, always the same."""
    order = torch.randperm(count, generator=seeded_generator(Stream.SUBSET))
    return order[:size].sort().values


def _sample_bits(x: Tensor) -> Tensor:
    """Sample 1.0 with probability x / 255 for uint8 x, or with probability x for float x.

    For uint8 this takes a third of the time of torch.bernoulli.
    """
    if x.dtype == torch.uint8:
        return (torch.randint_like(x, 255) < x).float()
    return torch.where(x.isnan(), x, (torch.rand_like(x) < x).to(x.dtype))


def split_rows(images: Tensor) -> tuple[Tensor, ...]:
    """Split images (N, *shape) into parts whose temporary copies are small; at least one image."""
    return images.split(max(1, CHUNK_VALUES // max(1, images[:1].numel()))) if len(images) else ()


def _find_extremes(parts: Iterable[Tensor]) -> tuple[float, float]:
    """Return the smallest and the largest value of floats; missing values, NaN, are left out."""
    low, high = math.inf, -math.inf
    for x in parts:
        smallest, largest = (each.item() for each in x.aminmax())
        if math.isnan(smallest):
            smallest, largest = (
                x.nan_to_num(math.inf).min().item(),
                x.nan_to_num(-math.inf).max().item(),
            )
        low, high = min(low, smallest), max(high, largest)
    return low, high


def measure_standardization(images: Tensor) -> Standardization:
    """Compute mean and deviation of each column (N, D), or of each channel (N, C, ...), in float64.

    Missing values, which are NaN, are left out.

    A constant column has deviation 1. Values of uint8 are divided by 255, as the model sees them.
    """
    scale = 255 if images.dtype == torch.uint8 else 1
    axes = [0, *range(2, images.ndim)]
    count, total, squares = (torch.zeros((), dtype=torch.float64) for _ in range(3))
    for x in split_rows(images):
        count = count + (~x.isnan()).double().sum(axes, keepdim=True)
        total = total + x.double().nansum(axes, keepdim=True)
    count = count.clamp(min=1)  # of a column without observed values
    mean = total / count
    for x in split_rows(images):
        squares = squares + (x.double() - mean).square().nansum(axes, keepdim=True)
    deviation = (squares / count).sqrt()
    deviation = torch.where(deviation > 0, deviation / scale, 1.0)
    return Standardization((mean / scale)[0].float(), deviation[0].float())


def check_split_fractions(validation: float, test: float) -> None:
    """Check that the fractions of a data set leave images for training and for testing.

    Raises:
        UserError: If validation < 0, test <= 0, or validation + test >= 1.
    """
    if not (validation >= 0 and test > 0 and validation + test < 1):  # also refuses NaN
        raise UserError(
            f"data.validation={validation} and data.test={test} are fractions of the images: "
            "data.validation must be at least 0, data.test above 0, and their sum below 1"
        )


def check_generated_sizes(train: int, validation: int, test: int, draw: int) -> None:
    """Check the numbers of generated x in each split, and the seed that generates them.

    Raises:
        UserError: If train or test is below 1, or validation or draw is below 0.
    """
    if not (train >= 1 and test >= 1 and validation >= 0):  # also refuses NaN
        raise UserError(
            f"data.train={train}, data.validation={validation}, data.test={test}: set train and "
            "test to at least 1, and validation to at least 0"
        )
    if draw < 0:
        raise UserError(f"data.draw={draw}: it must be at least 0")


def random_split(count: int, validation: float, test: float) -> dict[str, Tensor]:
    """Assign images to the splits at random, with a seed that is always the same.

    Arguments:
        count: The number of images.
        validation, test: The fractions of them that go to val and test.

    Returns:
        The indices of the images of train, val and test.
    """
    order = torch.randperm(count, generator=seeded_generator(Stream.SPLIT))
    sizes = [round(validation * count), round(test * count)]
    parts = order.split([count - sum(sizes), *sizes])
    return dict(zip(("train", "val", "test"), parts, strict=True))


class TrainingBatches:
    """Shuffled batches, of which process `rank` of `world_size` receives an equal part.

    The last batch of an epoch is shortened to a multiple of `world_size`, so that the mean over the
    processes' means is the mean over the batch. If a single image per process is left for it, the
    batch before it takes that image: statistics of a batch need at least two images.

    Arguments:
        split: The training images.
        size: Images in one batch, summed over all processes.
        seed: The seed of the order of the images.
        repeats_epoch: Every epoch has the batches of the first.

    Raises:
        UserError: If the processes cannot receive equal parts of a batch, or if there are fewer
            images than processes.
    """

    def __init__(
        self,
        split: Split,
        size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        repeats_epoch: bool = False,
        with_index: bool = False,
    ):
        if size % world_size:
            raise UserError(
                f"data.batch_size={size} cannot be divided equally among {world_size} processes: "
                f"set a multiple of {world_size}, as in "
                f"data.batch_size={-(-size // world_size) * world_size}"
            )
        if len(split.images) < world_size:
            raise UserError(
                f"{len(split.images)} training images are too few for {world_size} processes: "
                "use fewer processes (trainer.devices), or add images"
            )
        self.split, self.size, self.seed = split, size, seed
        self.rank, self.world_size = rank, world_size
        self.repeats_epoch, self.with_index = repeats_epoch, with_index
        self.num_images = len(split.images) - len(split.images) % world_size
        self.epoch, self.batches_taken = 0, 0
        self.resume_point = (0, 0)  # an epoch, and the number of its batches to skip
        self.sampler = self  # Lightning calls loader.sampler.set_epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "taken": self.batches_taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.resume_point = state["epoch"], state["taken"]

    def __len__(self) -> int:
        return len(self._batch_sizes())

    @property
    def min_images(self) -> int:
        """The number of images that a process receives of the smallest batch."""
        return min(self._batch_sizes()) // self.world_size

    @property
    def max_images(self) -> int:
        """The number of images of the largest batch, for all processes together."""
        return max(self._batch_sizes())

    def _batch_sizes(self) -> list[int]:
        """Return the number of images of every batch of an epoch, for all processes together."""
        whole, rest = divmod(self.num_images, self.size)
        sizes = [self.size] * whole + [rest] * (rest > 0)
        if len(sizes) > 1 and sizes[-1] == self.world_size < self.size:
            sizes[-2:] = [sum(sizes[-2:])]
        return sizes

    def indices(self, epoch: int, number: int) -> Tensor:
        """Return the indices in the split of this process's images in batch `number`."""
        return self._shuffled_batches(epoch)[number][self.rank :: self.world_size]

    def _shuffled_batches(self, epoch: int) -> tuple[Tensor, ...]:
        """Return the image indices of every batch of an epoch, for all processes together."""
        epoch = 0 if self.repeats_epoch else epoch
        generator = seeded_generator(Stream.ORDER, self.seed, epoch)
        order = torch.randperm(len(self.split.images), generator=generator)
        return order.to(self.split.images.device)[: self.num_images].split(self._batch_sizes())

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        resume_epoch, skipped = self.resume_point
        self.batches_taken = skipped if resume_epoch == self.epoch else 0
        for batch in self._shuffled_batches(self.epoch)[self.batches_taken :]:
            index = batch[self.rank :: self.world_size]
            self.batches_taken += 1
            batch = tuple(part.index_select(0, index) for part in self.split)
            yield (*batch, index) if self.with_index else batch


class OrderedBatches:
    """Batches in order; process `rank` of `world_size` receives rank, rank + world_size, ...

    If there are fewer batches than processes, a process that is left without a batch receives the
    first one, so that it takes part in every reduction. The number of that batch is `num_batches`
    or larger: the caller must not count it.

    Arguments:
        split: The images to evaluate.
        size: Images in one batch.
        index: The index of each image in the whole split (N,), if these are a subset of it.
    """

    def __init__(
        self,
        split: Split,
        size: int,
        rank: int = 0,
        world_size: int = 1,
        index: Tensor | None = None,
    ):
        self.split, self.size, self.rank, self.world_size = split, size, rank, world_size
        self.index = torch.arange(len(split.images)) if index is None else index
        self.num_batches = -(-len(split.images) // size)

    @property
    def batch_numbers(self) -> range:
        """The numbers of this process's batches among those of all processes."""
        return range(self.rank, max(self.num_batches, self.rank + 1), self.world_size)

    def __len__(self) -> int:
        return len(self.batch_numbers)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield images, labels and the index of each image in the whole split."""
        for number in self.batch_numbers:
            start = number * self.size if number < self.num_batches else 0
            part = slice(start, start + self.size)
            yield self.split.images[part], self.split.labels[part], self.index[part]
