"""The diagnosis of a non-finite step: which term, which activations, and how to repeat it."""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from pytorch_lightning import Trainer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vaelab.data.base import TrainingBatches
from vaelab.runtime.distributed import rank_and_world_size
from vaelab.runtime.private_api import attached_trainer
from vaelab.runtime.seeding import preserved_generators
from vaelab.training.base import Batch, TrainableModule

MAX_NAMES = 3  # terms and activations in the message of an event
GPUS = ("cuda", "mps")  # types of devices with generators of their own
SUMS = ("loss", "elbo")  # terms that are sums of the others


@dataclass
class RecordedBatch:
    """A training batch with the random state that is needed to recompute its loss.

    Attributes:
        number: The number of the batch in its epoch.
        step: The optimizer steps taken before it.
        random: The states of the random generators of the CPU and of the device.
        loss: Its loss ().
        found: 1 if this or an earlier batch was non-finite, else 0; a tensor () on the device.
    """

    batch: Batch
    number: int
    epoch: int
    step: int
    random: list[Tensor]
    loss: Tensor | None = None
    found: Tensor | None = None


class NonFiniteEvent(NamedTuple):
    """A non-finite step.

    Attributes:
        step: The number of the optimizer step.
        epoch: The epoch of the batch.
        batch: The number of the batch in its epoch.
        names: The non-finite terms of the objective, or "gradient of <parameter>".
        activations: The largest |activation| of each module in descending order; NaN counts as
            infinity.
        file: The file from which `repeat_saved_batch` repeats the step.
    """

    step: int
    epoch: int
    batch: int
    names: list[str]
    activations: list[tuple[str, float]]
    file: str = ""

    @property
    def summary(self) -> str:
        names = ", ".join(self.names[:MAX_NAMES]) + (" ..." if len(self.names) > MAX_NAMES else "")
        position = f"step {self.step}, batch {self.batch} of epoch {self.epoch}"
        return f"{position}: NaN or infinity in {names}"

    @property
    def details(self) -> str:
        largest = ", ".join(f"{name} {value:.2g}" for name, value in self.activations[:MAX_NAMES])
        return f"largest activations: {largest}; the batch is saved in {self.file}"


def diagnose_batch(module: TrainableModule, recorded: RecordedBatch) -> NonFiniteEvent:
    """Recompute a batch and return its non-finite terms and largest activations."""
    with _LargestActivations(module) as largest, preserved_generators():
        _set_random_states(recorded.random, module.device)
        names = find_non_finite(module, recorded.batch, recorded.step)
    position = recorded.step + 1, recorded.epoch, recorded.number
    return NonFiniteEvent(*position, names, largest.sorted())


def find_non_finite(module: TrainableModule, batch: Batch, step: int) -> list[str]:
    """Return the names of the non-finite terms of the objective for a batch.

    If there are none, return the non-finite gradients, those of the last layers first.

    Arguments:
        step: The optimizer steps taken before the batch.
    """
    trainer: Trainer | None = attached_trainer(module)
    precision = trainer.precision_plugin.forward_context() if trainer else nullcontext()
    with torch.enable_grad(), precision:
        terms = module.terms(batch, step)
    names = [name for name, term in terms.items() if not term.isfinite().all()]
    if names:
        return [name for name in names if name not in SUMS] or names[:1]
    weights = {name: each for name, each in module.named_parameters() if each.requires_grad}
    loss = terms["loss"].mean()
    gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return [
        f"gradient of {name}"
        for name, gradient in reversed([*zip(weights, gradients, strict=True)])
        if gradient is not None and not gradient.isfinite().all()
    ]


def repeat_saved_batch(module: TrainableModule, path: Path) -> list[str]:
    """Recompute the batch of a saved event with its weights; return the non-finite names."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        event = json.loads(file.metadata()["event"])
    weights = {
        name.removeprefix("weights."): each
        for name, each in tensors.items()
        if name.startswith("weights.")
    }
    module.load_state_dict(weights)
    module.train()
    torch.set_rng_state(tensors["random.host"])
    return find_non_finite(module, (tensors["x"], tensors["y"]), event["step"] - 1)


def save_event(module: TrainableModule, recorded: RecordedBatch, event: NonFiniteEvent) -> Path:
    """Write a batch, its random state and the weights to <run>/nan; return the path."""
    rank = rank_and_world_size()[0]
    name = f"step-{event.step}" + (f"-rank-{rank}" if rank else "")
    path = Path(module.trainer.default_root_dir, "nan", f"{name}.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    (x, y), loader = recorded.batch, module.trainer.train_dataloader
    tensors = {"x": x, "y": y}
    if isinstance(loader, TrainingBatches):
        tensors["indices"] = loader.indices(recorded.epoch, recorded.number)
    tensors |= dict(zip(("random.host", "random.device"), recorded.random, strict=False))
    tensors |= {f"weights.{name}": each for name, each in module.state_dict().items()}
    plain = {name: each.detach().cpu().contiguous().clone() for name, each in tensors.items()}
    save_file(plain, path, {"event": json.dumps(event._asdict())})
    return path


class _LargestActivations:
    """Records the largest |activation| of every leaf module of the model while it is entered."""

    def __init__(self, module: TrainableModule):
        self.largest: dict[str, float] = {}
        modules = module.vae.named_modules(prefix="vae")
        self.leaves = {name: leaf for name, leaf in modules if not any(leaf.children())}

    def __enter__(self) -> Self:
        self.hooks = [
            leaf.register_forward_hook(lambda module, args, out, name=name: self._record(name, out))
            for name, leaf in self.leaves.items()
        ]
        return self

    def __exit__(self, *_: Any) -> None:
        for hook in self.hooks:
            hook.remove()

    def _record(self, name: str, out: Any) -> None:
        if isinstance(out, Tensor) and out.numel():
            value = out.detach().float().abs().nan_to_num(torch.inf, torch.inf).max().item()
            self.largest[name] = max(value, self.largest.get(name, 0.0))

    def sorted(self) -> list[tuple[str, float]]:
        return sorted(self.largest.items(), key=lambda pair: -pair[1])


def get_random_states(device: torch.device) -> list[Tensor]:
    """Return the states of the random generators of the CPU and, if it is a GPU, the device."""
    states = [torch.get_rng_state()]
    if device.type in GPUS:
        states.append(torch.get_device_module(device).get_rng_state(device))
    return states


def _set_random_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.get_device_module(device).set_rng_state(state, device)
