"""What a run needs besides its weights and counters in order to resume bit for bit."""

import random
import time
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from vaelab.module import VAEModule
from vaelab.runtime.distributed import merge_over_processes, rank_and_world_size
from vaelab.runtime.private_api import restore_loader_state
from vaelab.runtime.seeding import (
    Stream,
    derive_seed,
    get_generator_states,
    set_generator_states,
)


class ResumeState(Callback):
    """Seeds a new training; in a resumed one, restores the random states of every process.

    Attributes:
        seconds: The training time in seconds, including the time before interruptions.
        resumed: The optimizer steps at which the run was resumed.
    """

    def __init__(self) -> None:
        self.earlier_seconds = 0.0
        self.started: float | None = None
        self.resumed: list[int] = []
        self.states: dict[int, Any] = {}

    @property
    def seconds(self) -> float:
        return self.earlier_seconds + (time.perf_counter() - self.started if self.started else 0.0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.started = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rank, seed = trainer.global_rank, cast(VAEModule, pl_module).seed
        restore_loader_state(trainer)
        if self.states:
            self.resumed.append(trainer.global_step)
        if rank in self.states:
            restore_random_states(self.states[rank])
        else:
            torch.manual_seed(derive_seed(Stream.TRAINING, seed, rank))

    def state_dict(self) -> dict[str, Any]:
        states = merge_over_processes({rank_and_world_size()[0]: _random_states()})
        return {"seconds": self.seconds, "resumed": self.resumed, "states": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier_seconds = state_dict["seconds"]
        self.resumed = list(state_dict["resumed"])
        self.states = state_dict["states"]


def _random_states() -> dict[str, Any]:
    """Return the random states of Python, numpy and torch as plain values and tensors."""
    name, keys, *rest = np.random.get_state()
    states = get_generator_states()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), *rest],
        "torch": states.pop("cpu"),
        **states,
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore random states, perhaps of a machine with other devices."""
    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    saved = {kind: states[kind] for kind in ("cuda", "mps") if states.get(kind) is not None}
    set_generator_states({"cpu": states["torch"], **saved})
