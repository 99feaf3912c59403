"""A trained model in one file that can start no program: `run.save(path)`, model.safetensors.

The tensors are those of the VAE, without what only its training needs. In the metadata are its
config, as it was composed, the words that chose it and the steps it has seen, so that `Run.open`
and every script take the file, or the folder that it lies in, for a run.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Tensor

from vaelab.runs import untrusted
from vaelab.runtime.files import atomic_write

FILE_NAME = "model.safetensors"
KEY = "vaelab"  # the one key of the metadata: of several the order would be random


class WeightsHeader(NamedTuple):
    """What a file says of its weights."""

    cfg: DictConfig
    choices: dict[str, str]
    overrides: list[str]
    step: int


def save_weights(header: WeightsHeader, tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors, named as in `VAE.state_dict`, with what the file says of them."""
    said = {"config": OmegaConf.to_yaml(header.cfg), "step": header.step}
    said |= {"choices": header.choices, "overrides": header.overrides}
    tensors = {name: each.contiguous() for name, each in tensors.items()}
    with atomic_write(path) as part:
        part.write_bytes(serialized(tensors, {KEY: json.dumps(said)}))


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, named as in `VAE.state_dict`."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is truncated or no file of weights") from error


def read_header(path: Path) -> WeightsHeader:
    """What the file says, which may come from anybody."""
    try:
        with safe_open(path, "pt") as file:
            said = json.loads(file.metadata()[KEY])
        cfg = untrusted.parse_config(said["config"], path)
        header = WeightsHeader(
            cfg, dict(said["choices"]), list(said["overrides"]), int(said["step"])
        )
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is truncated or no file of weights") from error
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} has no config of vaelab in its metadata") from error
    if not {"data", "module"} <= cfg.keys():
        raise ValueError(f"{path} has no config of vaelab in its metadata")
    return header


def find_weights_file(path: Path) -> Path | None:
    """The file of weights that `path` is, or holds without being a run folder."""
    if path.suffix == ".safetensors" and path.is_file():
        return path
    inside = path / FILE_NAME
    return inside if inside.is_file() and not (path / ".hydra").is_dir() else None


def results_folder(path: Path) -> Path:
    """Where the results of a run go, or of weights at this path."""
    return path.parent if path.is_file() else path


def hash_weights(state: dict[str, Tensor]) -> str:
    """SHA-256 of the weights of a VAE."""
    digest = hashlib.sha256()
    for name, weight in sorted(state.items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
