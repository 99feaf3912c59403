"""The contract of a data set: uint8 tensors handed out in batches, made floats on the device.

A data set is one file with a `DataModule` whose `load()` returns the three splits. Images stay as
they are stored (uint8 0..255, or float32 for measurements) until a whole batch is on the device (a
GPU with room for it holds the whole data set); `prepare` then scales uint8 to [0, 1] and draws the
bits of `data.binarize=dynamic`.

Batches are (x, labels). The order of an epoch is a pure function of (seed, epoch), so a run can
stop anywhere and go on exactly. Under ddp `batch_size` is shared out: two processes train on the
two halves of every batch, and evaluate every other whole batch.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from vaelab.distributions.pixels import Pixels
from vaelab.runtime.distributed import rank_and_world_size
from vaelab.runtime.seeding import Stream, seeded_generator, seeded_noise

Binarize = Literal["none", "dynamic", "fixed"]

# numpy seeds of the bits that are drawn once; test is the one the field's tables use.
BITS_SEED = {"test": 0, "val": 1, "train": 2}
GPU_SHARE = 0.25  # of the free memory of a GPU that a split may take


class Split(NamedTuple):
    """Images (N, *shape), uint8 or float32, and labels (N,) or (N, attributes); (N, 0) is none."""

    images: Tensor
    labels: Tensor


class DataModule(LightningDataModule):
    """A data set in three splits, train, val and test; val may be empty.

    Attributes:
        features: The net that its images are compared by, as src/vaelab/features names it.
        licence: The terms its images come under, where they are known.
        factors: The names of what the images were made from, where labels (N, factors) are that:
            whole numbers from 0.
        unordered: Those of the factors whose values have no order.

    Arguments:
        shape: The shape of one x, (C, H, W) for pictures.
        binarize: none | dynamic (train anew at every presentation, val and test once) | fixed
            (everything once). Pixels are read as probabilities of a 1.
        batch_size: Images in one optimizer step, over all processes together.
        seed: Of the order of the training images.
        dequantize: Whether a level v of 256 becomes a real number, uniform in [v, v + 1] / 256, so
            that its density is bounded and gives bits/dim: drawn anew at every presentation in
            training, and always the same way in validation and evaluation.
    """

    features: ClassVar[str] = "inception"
    licence: ClassVar[str | None] = None
    factors: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()

    def __init__(
        self,
        shape: Sequence[int],
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__()
        if binarize not in ("none", "dynamic", "fixed"):
            raise ValueError(f"data.binarize={binarize}: choose from none, dynamic, fixed")
        if batch_size < 1:
            raise ValueError(f"data.batch_size={batch_size}: it must be at least 1")
        if seed < 0:
            raise ValueError(f"data.seed={seed}: it must not be negative")
        self.shape = tuple(shape)
        self.binarize = binarize
        self.batch_size = batch_size
        self.seed = seed
        self.dequantize = dequantize
        self.splits: dict[str, Split] = {}
        self.bits_sha256: dict[str, str] = {}

    @abstractmethod
    def load(self) -> Mapping[str, Split]:
        """The splits train, val and test, from files that `prepare_data` has made sure of."""

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        self.splits = dict(self.load())
        for name, (images, _) in self.splits.items():
            if tuple(images.shape[1:]) != self.shape:
                raise ValueError(
                    f"data.shape={list(self.shape)}, but the {name} images are "
                    f"{list(images.shape[1:])}: set data.shape to that"
                )
        for name in ("train", "test"):
            if len(self.splits[name].images) == 0:
                raise ValueError(f"there are no {name} images: give it a larger part of the data")
        levels = self.splits["train"].images.dtype == torch.uint8
        if self.dequantize and (self.binarize != "none" or not levels):
            raise ValueError(
                "data.dequantize=true spreads 256 levels over real numbers, but the pixels are "
                f"{self.pixels if levels else 'real'}: set data.dequantize=false"
                + (" or data.binarize=none" if levels else "")
            )
        if self.binarize != "none":
            low, high = self.range
            if low < 0 or high > 1:
                raise ValueError(
                    f"data.binarize={self.binarize} reads pixels as probabilities, but they lie "
                    f"in [{low:g}, {high:g}]: set data.binarize=none"
                )
            for name in ("train", "val", "test") if self.binarize == "fixed" else ("val", "test"):
                self.splits[name] = self._bits(name)

    def _bits(self, name: str) -> Split:
        """The split with bits drawn once; their hash is kept."""
        images, labels = self.splits[name]
        grey = images.flatten(1).numpy() / (255.0 if images.dtype == torch.uint8 else 1.0)
        bits = np.random.RandomState(BITS_SEED[name]).random_sample(grey.shape) < grey
        self.bits_sha256[name] = hashlib.sha256(np.packbits(bits, axis=1).tobytes()).hexdigest()
        bits = torch.from_numpy(bits).reshape(images.shape).to(torch.uint8) * 255
        return Split(bits, labels)

    @property
    def pixels(self) -> Pixels:
        """What the model sees in one pixel: a bit, one of 256 levels, or a real number.

        A dequantized one is a real number in [0, 1] that stands for a level.
        """
        if self.binarize != "none":
            return "binary"
        if self.dequantize:
            return "dequantized"
        return "levels" if self.splits["train"].images.dtype == torch.uint8 else "real"

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and largest value a pixel can have."""
        if self.bits_sha256:
            return 0.0, 1.0
        images = [split.images for split in self.splits.values() if len(split.images)]
        if images[0].dtype == torch.uint8:
            return 0.0, 1.0
        return min(x.min().item() for x in images), max(x.max().item() for x in images)

    @property
    def has_validation(self) -> bool:
        """Whether any image was set aside for validation."""
        return len(self.splits["val"].images) > 0

    def prepare(self, x: Tensor, fresh: bool = False) -> Tensor:
        """Stored images to floats on their own device; with `fresh`, new bits or new noise."""
        if fresh and self.binarize == "dynamic":
            return _fresh_bits(x)
        if self.dequantize and fresh:
            return _dequantized(x)
        if self.dequantize:
            with seeded_noise(Stream.DEQUANTIZATION, self.seed):
                return _dequantized(x)
        return x / 255 if x.dtype == torch.uint8 else x

    def on_after_batch_transfer(self, batch, dataloader_idx: int):
        x, y = batch
        return self.prepare(x, fresh=bool(self.trainer and self.trainer.training)), y

    def train_dataloader(self) -> "TrainingBatches":
        return TrainingBatches(
            self._at_hand("train"), self.batch_size, self.seed, *rank_and_world_size()
        )

    def val_dataloader(self) -> "WholeBatches":
        return WholeBatches(self._at_hand("val"), self.batch_size, *rank_and_world_size())

    def _at_hand(self, name: str) -> Split:
        """A split, on the GPU if that has room for it, so that no step waits for the host."""
        split = self.splits[name]
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if sum(part.nbytes for part in split) < GPU_SHARE * free:
                return Split(*(part.to(device) for part in split))
        return split

    def batches(
        self, split: str, images: int | None = None, size: int | None = None
    ) -> "WholeBatches":
        """The batches of a split in order, for evaluation; under ddp this process's share.

        Training images that are binarized anew at every presentation get bits drawn once here.

        Arguments:
            images: The first so many; None is all.
            size: Of a batch; None is that of training.
        """
        fresh = self.binarize == "dynamic" and split == "train"
        whole = self._bits(split) if fresh else self.splits[split]
        if len(whole.images) == 0:
            raise ValueError(f"there are no {split} images to evaluate")
        first = Split(*(part[:images] for part in whole))
        return WholeBatches(first, size or self.batch_size, *rank_and_world_size())


def _fresh_bits(x: Tensor) -> Tensor:
    """1.0 with probability x / 255, or x if it is a float; a third of torch.bernoulli's time."""
    if x.dtype == torch.uint8:
        return (torch.randint_like(x, 255) < x).float()
    return (torch.rand_like(x) < x).to(x.dtype)


def _dequantized(x: Tensor) -> Tensor:
    return (x + torch.rand(x.shape, device=x.device)) / 256


def check_fractions(validation: float, test: float) -> None:
    """Refuse fractions of a data set that leave nothing to train on or to test with."""
    if validation < 0 or test <= 0 or validation + test >= 1:
        raise ValueError(
            f"data.validation={validation} and data.test={test} are fractions: test above 0, "
            "and together below 1"
        )


def random_split(count: int, validation: float, test: float) -> dict[str, Tensor]:
    """Which of so many images train, validate and test: at random, but always the same."""
    order = torch.randperm(count, generator=seeded_generator(Stream.SPLIT))
    sizes = [round(validation * count), round(test * count)]
    parts = order.split([count - sum(sizes), *sizes])
    return dict(zip(("train", "val", "test"), parts, strict=True))


class TrainingBatches:
    """Shuffled batches; of each, process `rank` of `world` takes an equal part.

    The last batch of an epoch is shortened to a multiple of `world`, so that the mean of the
    processes' means is the mean of the batch.
    """

    def __init__(self, split: Split, size: int, seed: int, rank: int = 0, world: int = 1):
        if size % world:
            raise ValueError(
                f"data.batch_size={size} is shared out to {world} processes: make it a multiple"
            )
        if len(split.images) < world:
            raise ValueError(
                f"{len(split.images)} training images are too few for {world} processes"
            )
        self.split, self.size, self.seed = split, size, seed
        self.rank, self.world = rank, world
        self.total = len(split.images) - len(split.images) % world
        self.epoch, self.taken = 0, 0
        self.skipped = (0, 0)  # so many batches of this epoch
        self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "taken": self.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.skipped = state["epoch"], state["taken"]

    def __len__(self) -> int:
        return -(-self.total // self.size)

    def indices(self, epoch: int, number: int) -> Tensor:
        """The images of a batch, by their places in the split."""
        return self._order(epoch)[number][self.rank :: self.world]

    def _order(self, epoch: int) -> tuple[Tensor, ...]:
        chance = seeded_generator(Stream.ORDER, self.seed, epoch)
        order = torch.randperm(len(self.split.images), generator=chance)
        return order.to(self.split.images.device)[: self.total].split(self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        self.taken = self.skipped[1] if self.skipped[0] == self.epoch else 0
        for batch in self._order(self.epoch)[self.taken :]:
            index = batch[self.rank :: self.world]
            self.taken += 1
            yield tuple(part.index_select(0, index) for part in self.split)


class WholeBatches:
    """Batches in order; process `rank` of `world` takes batches rank, rank + world, ...

    A process that none is left for gets the first one, to take part in every reduction, but its
    number is `total` or more: it must not be counted.
    """

    def __init__(self, split: Split, size: int, rank: int = 0, world: int = 1):
        self.split, self.size, self.rank, self.world = split, size, rank, world
        self.total = -(-len(split.images) // size)

    @property
    def numbers(self) -> range:
        """The numbers of this process's batches among those of all processes."""
        return range(self.rank, max(self.total, self.rank + 1), self.world)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number in self.numbers:
            start = number * self.size if number < self.total else 0
            part = slice(start, start + self.size)
            yield self.split.images[part], self.split.labels[part]
