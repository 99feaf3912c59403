"""Write run folders as train.py does, after little or no training."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONF, QUICK
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf


@pytest.fixture(scope="session")
def save_run() -> Callable[..., Path]:
    """Write the run folder of a command with weights after a number of optimizer steps."""
    from vaelab.runs.run import RunParts

    def save(folder: Path, *words: str, steps: int = 0) -> Path:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", [f"folder={folder}", *QUICK, *words], return_hydra_config=True)
        runtime = {"choices": dict(cfg.hydra.runtime.choices), "cwd": str(folder)}
        OmegaConf.set_struct(cfg, False)
        del cfg["hydra"]
        torch.manual_seed(0)
        run = RunParts.build(cfg)
        train_briefly(run, steps)
        (folder / ".hydra").mkdir(parents=True)
        (folder / "checkpoints").mkdir()
        OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
        OmegaConf.save({"hydra": {"runtime": runtime}}, folder / ".hydra" / "hydra.yaml")
        state = {"state_dict": run.module.state_dict(), "global_step": steps}
        torch.save(state, folder / "checkpoints" / "best.ckpt")
        return folder

    return save


def train_briefly(run: Any, steps: int) -> None:
    if not steps:
        return
    run.data.setup()
    run.vae.initialize(run.data.prepare(run.data.splits["train"].images))
    optimizer = torch.optim.Adam(run.module.parameters(), 3e-3)
    batches = itertools.chain.from_iterable(itertools.repeat(run.data.train_dataloader()))
    for x, y in itertools.islice(batches, steps):
        optimizer.zero_grad()
        run.module.objective(run.vae.condition_on(y), run.data.prepare(x), 0)[
            "loss"
        ].mean().backward()
        optimizer.step()
