"""Run folders that no training made: the weights are those that a model starts with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import CONF, QUICK
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf


@pytest.fixture(scope="session")
def saved() -> Callable[..., Path]:
    """Writes what train.py would leave, by the folder and the words of the command line."""
    from vaelab.run import Run

    def save(folder: Path, *words: str) -> Path:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", [f"folder={folder}", *QUICK, *words], return_hydra_config=True)
        chosen = {"choices": dict(cfg.hydra.runtime.choices), "cwd": str(folder)}
        OmegaConf.set_struct(cfg, False)
        del cfg["hydra"]
        torch.manual_seed(0)
        weights = Run.build(cfg).module.state_dict()
        (folder / ".hydra").mkdir(parents=True)
        (folder / "checkpoints").mkdir()
        OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
        OmegaConf.save({"hydra": {"runtime": chosen}}, folder / ".hydra" / "hydra.yaml")
        state = {"state_dict": weights, "global_step": 0}
        torch.save(state, folder / "checkpoints" / "best.ckpt")
        return folder

    return save
