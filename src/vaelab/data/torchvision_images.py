"""The base class of data sets that torchvision downloads and reads, such as MNIST and CIFAR-10."""

import contextlib
import io
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split
from vaelab.data.published_files import check_md5, check_padding, pad_images
from vaelab.runtime.errors import MissingFileError, UserError


class TorchvisionImages(DataModule):
    """Images in the published split of a data set, from the files that torchvision reads.

    Missing files are downloaded by torchvision, and the MD5 hash of every file is checked before it
    is read. The last `validation` images of the published training set are the val split.

    Attributes:
        native_shape: The shape of the images in the files.
        validation_images: The usual number of validation images; None = as many as the test set
            has.
        folder: The folder of the files, in root.
        classes: The names of the classes 0, 1, ..., if they are not digits.

    Arguments:
        root: The folder that contains the folder of the data set, or into which it is downloaded.
        shape: The shape of the images, or larger by an even number, which pads them with black;
            null = the shape in the files.
        validation: The number of training images set aside for validation; 0 = train on all of
            them, null = the usual number.

    Raises:
        UserError: If an argument is out of range. `prepare_data` raises it if a file is damaged.
        MissingFileError: From `prepare_data`, if a file is missing and cannot be downloaded.
    """

    native_shape: ClassVar[tuple[int, int, int]]
    validation_images: ClassVar[int | None]
    folder: ClassVar[str]
    classes: tuple[str, ...] = ()

    def __init__(
        self,
        root: str,
        shape: Sequence[int] | None = None,
        validation: int | None = None,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
        missing_fraction: float = 0.0,
        augment: Sequence[str] = (),
    ):
        super().__init__(
            shape or self.native_shape,
            binarize,
            batch_size,
            seed,
            dequantize,
            missing_fraction=missing_fraction,
            augment=augment,
        )
        check_padding(self.shape, self.native_shape)
        validation = self.validation_images if validation is None else validation
        if validation is not None and not validation >= 0:  # also refuses NaN
            raise UserError(f"data.validation={validation}: it must be at least 0")
        self.root = root
        self.validation = validation

    @abstractmethod
    def list_files(self) -> Mapping[str, str | None]:
        """Return the names of the files in the folder and their MD5 hashes.

        The hash is None if only the archive that contains the file has a published one, which
        torchvision checks before it unpacks the archive.
        """

    @abstractmethod
    def open_source(self, train: bool, **settings: Any) -> Any:
        """Build torchvision's data set of the training or test images; download=True downloads."""

    def read_source(self, source: Any) -> tuple[Tensor, Tensor]:
        """Return the images (N, C, H, W), uint8, and the labels (N,) of torchvision's data set."""
        return source.data[:, None], source.targets

    def prepare_data(self) -> None:
        folder = Path(self.root, self.folder)
        files = self.list_files()
        if not all((folder / name).is_file() for name in files):
            self._download(folder)
        hint = "delete it, so that it is downloaded again, or replace it with the original file"
        for name, md5 in files.items():
            if md5 is not None:
                check_md5(folder / name, md5, hint)

    def _download(self, folder: Path) -> None:
        """Download the files; if that fails, delete the folders that it created."""
        names = self.list_files()
        new = [path for path in (folder, folder.parent, Path(self.root)) if not path.exists()]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                for train in (True, False):
                    self.open_source(train, download=True)
        except (OSError, RuntimeError) as error:
            for path in new:
                with contextlib.suppress(OSError):
                    path.rmdir()  # fails if the folder is not empty
            raise MissingFileError(
                f"{folder} does not have all of {', '.join(names)}, and the download failed "
                f"({type(error).__name__}): put these {len(names)} files there, or set "
                f"data.root or VAELAB_DATA to the folder that contains {self.folder}"
            ) from error

    def load(self) -> dict[str, Split]:
        train, test = (self._read_split(train) for train in (True, False))
        validation = len(test.images) if self.validation is None else self.validation
        cut = len(train.images) - validation
        if cut < 1:
            raise UserError(
                f"data.validation={validation} leaves none of the {len(train.images)} images "
                f"for training: set data.validation to at most {len(train.images) - 1}"
            )
        return {
            "train": Split(train.images[:cut], train.labels[:cut]),
            "val": Split(train.images[cut:], train.labels[cut:]),
            "test": test,
        }

    def _read_split(self, train: bool) -> Split:
        try:
            images, labels = self.read_source(self.open_source(train))
        except (RuntimeError, AssertionError) as error:  # of files without a published hash
            raise UserError(
                f"the files in {Path(self.root, self.folder)} cannot be read ({error}): delete "
                "them, so that they are downloaded again"
            ) from error
        return Split(pad_images(images, self.shape), labels)
