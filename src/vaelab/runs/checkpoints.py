"""Checkpoint files: written whole or not at all, and read only if they are whole."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from vaelab.runtime.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Has a whole checkpoint there at any moment, also on a disk that is full."""

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
    """What a checkpoint holds, on the CPU.

    Raises:
        ValueError: If a byte of it is missing or is not what was written.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such checkpoint")
    try:
        with zipfile.ZipFile(path) as file:  # torch.load does not look at the checksums
            if any(each.compress_type != zipfile.ZIP_STORED for each in file.infolist()):
                raise ValueError("it is packed: a few bytes may unfold to fill the memory")
            torn = file.testzip()
        state = torch.load(path, map_location="cpu", weights_only=True)
        if torn or not {"state_dict", "global_step"} <= state.keys():
            raise KeyError(torn)
        _check_types(state["state_dict"], state["global_step"])
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{path} is truncated or no checkpoint of vaelab") from error
    return state


def _check_types(tensors: Any, step: Any) -> None:
    if type(step) is not int or not isinstance(tensors, dict):
        raise TypeError("it holds other things than weights after so many steps")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError("a weight is no tensor, or has no name")


def find_latest_checkpoint(folder: Path) -> Path | None:
    """Of the checkpoints of a folder, the one that has gone furthest and can be read."""
    steps: dict[Path, int] = {}
    for path in sorted(folder.glob("*.ckpt")):
        try:
            steps[path] = read_checkpoint(path)["global_step"]
        except ValueError as error:
            print(error)
    return max(steps, key=lambda path: steps[path], default=None)
