"""From a config to its objects and from a run folder back: the only instantiate is here."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vaelab.data.base import DataModule
from vaelab.module import VAEModule
from vaelab.vae import VAE

TRUSTED = ("vaelab.", "torch.optim.", "torchmetrics.", "pytorch_lightning.")


def build(node: DictConfig, **settings: Any) -> Any:
    """What a node of the config describes, with plain lists and dicts inside."""
    try:
        return instantiate(node, _convert_="all", **settings)
    except InstantiationException as error:
        cause = error.__cause__
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        raise (cause or error) from None


@dataclass
class Run:
    """A config with its data set and its model.

    Attributes:
        step: The optimizer steps that the model's weights have seen.
    """

    cfg: DictConfig
    data: DataModule
    module: VAEModule
    step: int = 0

    @property
    def vae(self) -> VAE:
        return self.module.vae

    @classmethod
    def build(cls, cfg: DictConfig) -> Run:
        data = build(cfg.data)
        return cls(cfg, data, build(cfg.module, vae={"shape": list(data.shape)}))

    @classmethod
    def open(cls, folder: str | Path, checkpoint: str = "best") -> Run:
        """A finished run with the weights of checkpoints/{best,last}.ckpt, its data set ready."""
        cfg = _recorded(Path(folder))
        _check_targets(cfg)
        run = cls.build(cfg)
        run.load(Path(folder, "checkpoints", f"{checkpoint}.ckpt"))
        run.data.prepare_data()
        run.data.setup()
        return run

    def load(self, path: Path) -> None:
        """Take the weights of a checkpoint."""
        weights, self.step = _read(path)
        try:
            self.module.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"{path} is of another architecture than its config: "
                + " ".join(str(error).split())[:200]
            ) from error

    def begin(self, folder: Path) -> None:
        """Take the weights of a finished run's best.ckpt; prior and objective may be others."""
        if not folder.is_dir():
            raise FileNotFoundError(f"start={folder}: there is no such run folder")
        theirs, _ = _read(folder / "checkpoints" / "best.ckpt")
        weights = self.module.state_dict()
        for name in sorted(weights.keys() | theirs.keys()):
            if name in weights and name in theirs and weights[name].shape == theirs[name].shape:
                weights[name] = theirs[name]
            elif not name.startswith(("vae.prior.", "objective.")):
                raise ValueError(
                    f"start={folder} is of another architecture, see {name}: choose the model, "
                    "posterior, loss and latent_dim of its .hydra/config.yaml"
                )
        self.module.load_state_dict(weights)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], int]:
    """The weights of a checkpoint, and the optimizer steps that they have seen."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return state["state_dict"], state["global_step"]
    except (RuntimeError, EOFError, UnpicklingError, KeyError, OSError, TypeError) as error:
        raise ValueError(f"{path} is truncated or no checkpoint of vaelab") from error


def _recorded(folder: Path) -> DictConfig:
    """The config of a finished run, its relative paths as they were meant where it was started."""
    path = folder / ".hydra" / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no run folder: it holds no .hydra/config.yaml")
    try:
        cfg, hydra = OmegaConf.load(path), OmegaConf.load(path.with_name("hydra.yaml"))
        started = OmegaConf.select(hydra, "hydra.runtime.cwd") or "."
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{path} or hydra.yaml beside it is damaged") from error
    if not isinstance(cfg, DictConfig) or not {"data", "module"} <= cfg.keys():
        raise ValueError(f"{path} is no config of vaelab")
    for key in {"root", "path", "cache"} & cfg.data.keys():
        if cfg.data[key] is not None:
            cfg.data[key] = str(Path(started, cfg.data[key]))
    return cfg


def _check_targets(cfg: DictConfig) -> None:
    """Refuse to build what is no part of an experiment: a run folder may come from anybody."""
    node: Any = OmegaConf.to_container(cfg, resolve=False)
    for target in _targets(node):
        found = get_object(target) if target.startswith(TRUSTED) else None
        if not inspect.isclass(found) or not found.__module__.startswith(TRUSTED):
            raise ValueError(f"_target_: {target} is no class of {' or '.join(TRUSTED)}")


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = node.values()
    if not isinstance(node, str) and isinstance(node, Iterable):
        for child in node:
            yield from _targets(child)
