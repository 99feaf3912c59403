"""Checkpoint files: they are written atomically, and read only if they are complete."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from vaelab.runs.old_names import rename_old_callbacks
from vaelab.runtime.errors import MissingFileError, UserError
from vaelab.runtime.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically: a complete one exists at any moment, even on a full disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with atomic_write(Path(path)) as part, part.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Raises:
        MissingFileError: If there is no such file.
        UserError: If the file is truncated or changed.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such checkpoint")
    try:
        with zipfile.ZipFile(path) as file:  # torch.load does not check the checksums
            if any(each.compress_type != zipfile.ZIP_STORED for each in file.infolist()):
                raise UserError("it is compressed: a few bytes could expand to fill the memory")
            damaged = file.testzip()
        state = torch.load(path, map_location="cpu", weights_only=True)
        if damaged or not {"state_dict", "global_step"} <= state.keys():
            raise KeyError(damaged)
        _check_types(state["state_dict"], state["global_step"])
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{path} is truncated, or not a checkpoint of vaelab") from error
    state["callbacks"] = rename_old_callbacks(state.get("callbacks", {}))
    return state


def _check_types(tensors: Any, step: Any) -> None:
    if type(step) is not int or not isinstance(tensors, dict):
        raise TypeError("it does not hold weights and a number of steps")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError("a weight is not a tensor, or has no name")


def find_latest_checkpoint(folder: Path) -> Path | None:
    """Return the readable checkpoint of a folder with the most optimizer steps, or None."""
    steps: dict[Path, int] = {}
    for path in sorted(folder.glob("*.ckpt")):
        try:
            steps[path] = read_checkpoint(path)["global_step"]
        except ValueError as error:
            print(error)
    return max(steps, key=lambda path: steps[path], default=None)
