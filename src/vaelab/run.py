"""From a config to its objects and from a run folder back: the only instantiate is here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vaelab.data.base import DataModule
from vaelab.module import VAEModule
from vaelab.vae import VAE


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
        path = Path(folder, ".hydra", "config.yaml")
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is no run folder: it holds no .hydra/config.yaml")
        cfg = OmegaConf.load(path)
        if not isinstance(cfg, DictConfig):
            raise ValueError(f"{path} is no config: it holds a list")
        run = cls.build(cfg)
        run.load(Path(folder, "checkpoints", f"{checkpoint}.ckpt"))
        run.data.prepare_data()
        run.data.setup()
        return run

    def load(self, path: Path) -> None:
        """Take the weights of a checkpoint."""
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such checkpoint")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            weights, self.step = state["state_dict"], state["global_step"]
        except (RuntimeError, EOFError, UnpicklingError, KeyError, OSError, TypeError) as error:
            raise ValueError(f"{path} is truncated or no checkpoint of vaelab") from error
        try:
            self.module.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"{path} is of another architecture than its config: "
                + " ".join(str(error).split())[:200]
            ) from error
