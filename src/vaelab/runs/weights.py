"""A trained model in one file, model.safetensors, which cannot contain code: `run.save(path)`.

The tensors are those of the VAE, without what only its training needs. The metadata contains the
composed config, the options and overrides, and the optimizer steps taken, so that `vaelab.load` and
every command accept the file, or its folder, as a run.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from vaelab.runs import untrusted
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import atomic_write

FILE_NAME = "model.safetensors"
METADATA_KEY = "vaelab"  # a single key, because safetensors writes several in random order


class WeightsHeader(NamedTuple):
    """The metadata of a file of weights.

    Attributes:
        cfg: The composed config of the run.
        choices: The chosen option of each config group.
        overrides: The words of the run's command.
        step: The optimizer steps taken.
    """

    cfg: DictConfig
    choices: dict[str, str]
    overrides: list[str]
    step: int


def save_weights(header: WeightsHeader, tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors, named as in `VAE.state_dict`, with their metadata."""
    metadata = {"config": OmegaConf.to_yaml(header.cfg), "step": header.step}
    metadata |= {"choices": header.choices, "overrides": header.overrides}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as part:
        part.write_bytes(serialize(tensors, {METADATA_KEY: json.dumps(metadata)}))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, named as in `VAE.state_dict`.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated, or not a file of weights") from error


def read_header(path: Path) -> WeightsHeader:
    """Read the metadata of a file, which may be untrusted.

    Raises:
        UserError: If the file is damaged, or was not written by vaelab.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads(file.metadata()[METADATA_KEY])
        cfg = untrusted.parse_config(metadata["config"], path)
        choices, overrides = dict(metadata["choices"]), list(metadata["overrides"])
        header = WeightsHeader(cfg, choices, overrides, int(metadata["step"]))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated, or not a file of weights") from error
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} has no config of vaelab in its metadata") from error
    if not {"data", "module"} <= cfg.keys():
        raise UserError(f"{path} has no config of vaelab in its metadata")
    return header


def find_weights_file(path: Path) -> Path | None:
    """Return the file of weights that `path` is, or that it contains if it is no run folder."""
    if path.suffix == ".safetensors" and path.is_file():
        return path
    file = path / FILE_NAME
    return file if file.is_file() and not (path / ".hydra").is_dir() else None


def results_folder(path: Path) -> Path:
    """Return the folder for the results of a run, or of weights, at this path."""
    return path.parent if path.is_file() else path


def hash_weights(state: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the weights of a VAE, named as in `VAE.state_dict`."""
    digest = hashlib.sha256()
    for name, weight in sorted(state.items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
