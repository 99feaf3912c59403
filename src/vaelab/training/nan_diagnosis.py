"""What is known of a step that was not finite: which term, where, and how to repeat it."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from pytorch_lightning import Trainer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vaelab.data.base import TrainingBatches
from vaelab.runtime.distributed import rank_and_world_size

if TYPE_CHECKING:
    from vaelab.module import Batch, VAEModule

NAMED = 3  # activations in the line of an event
FOLLOW = ("loss", "elbo")  # terms that are sums of the others


@dataclass
class RecordedBatch:
    """A batch that was trained on, with what it takes to compute the same once more.

    Attributes:
        number: Of the batch in its epoch.
        step: The optimizer steps before it.
        random: The states of the generators of the host and of the device.
        found: Whether it, or one before it, was not finite; on the device.
    """

    batch: Batch
    number: int
    epoch: int
    step: int
    random: list[Tensor]
    loss: Tensor | None = None
    found: Tensor | None = None


class NonFiniteEvent(NamedTuple):
    """What was not finite, where, and the file that it can be repeated from.

    Attributes:
        names: Terms of the objective, or "gradient of <parameter>".
        activations: The largest |activation| of each module, the largest first; nan counts as inf.
    """

    step: int
    epoch: int
    batch: int
    names: list[str]
    activations: list[tuple[str, float]]
    file: str = ""

    @property
    def what(self) -> str:
        names = ", ".join(self.names[:NAMED]) + (" ..." if len(self.names) > NAMED else "")
        return f"step {self.step}, batch {self.batch} of epoch {self.epoch}: {names} not finite"

    @property
    def where(self) -> str:
        largest = ", ".join(f"{name} {most:.2g}" for name, most in self.activations[:NAMED])
        return f"largest activations: {largest}; the batch is in {self.file}"


def diagnose_batch(module: VAEModule, attempt: RecordedBatch) -> NonFiniteEvent:
    """What was not finite when this batch was trained on."""
    with _Largest(module) as largest, torch.random.fork_rng(_devices(module.device)):
        _set_random_states(attempt.random, module.device)
        names = find_non_finite(module, attempt.batch, attempt.step)
    return NonFiniteEvent(attempt.step + 1, attempt.epoch, attempt.number, names, largest.sorted())


def find_non_finite(module: VAEModule, batch: Batch, step: int) -> list[str]:
    """The terms of the objective that are not finite for a batch.

    If there are none, the gradients that are not, of the weights nearest to the loss first.
    """
    trainer: Trainer | None = module._trainer
    precision = trainer.precision_plugin.forward_context() if trainer else nullcontext()
    with torch.enable_grad(), precision:
        terms = module.terms(batch, step)
    wrong = [name for name, term in terms.items() if not term.isfinite().all()]
    if wrong:
        return [name for name in wrong if name not in FOLLOW] or wrong[:1]
    weights = {name: each for name, each in module.named_parameters() if each.requires_grad}
    loss = terms["loss"].mean()
    gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return [
        f"gradient of {name}"
        for name, gradient in reversed([*zip(weights, gradients, strict=True)])
        if gradient is not None and not gradient.isfinite().all()
    ]


def repeat_saved_batch(module: VAEModule, path: Path) -> list[str]:
    """What was not finite in the event of a file: it is computed once more, from its weights."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        said = json.loads(file.metadata()["event"])
    weights = {
        name.removeprefix("weights."): each
        for name, each in tensors.items()
        if name.startswith("weights.")
    }
    module.load_state_dict(weights)
    module.train()
    torch.set_rng_state(tensors["random.host"])
    return find_non_finite(module, (tensors["x"], tensors["y"]), said["step"] - 1)


def save_event(module: VAEModule, attempt: RecordedBatch, event: NonFiniteEvent) -> Path:
    rank = rank_and_world_size()[0]
    name = f"step-{event.step}" + (f"-rank-{rank}" if rank else "")
    path = Path(module.trainer.default_root_dir, "nan", f"{name}.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    (x, y), loader = attempt.batch, cast(TrainingBatches, module.trainer.train_dataloader)
    tensors = {"x": x, "y": y, "indices": loader.indices(attempt.epoch, attempt.number)}
    tensors |= dict(zip(("random.host", "random.device"), attempt.random, strict=False))
    tensors |= {f"weights.{name}": each for name, each in module.state_dict().items()}
    plain = {name: each.detach().cpu().contiguous().clone() for name, each in tensors.items()}
    save_file(plain, path, {"event": json.dumps(event._asdict())})
    return path


class _Largest:
    """Inside, the largest |activation| of every module of the model that computes one is noted."""

    def __init__(self, module: VAEModule):
        self.found: dict[str, float] = {}
        every = module.vae.named_modules(prefix="vae")
        self.leaves = {name: each for name, each in every if not any(each.children())}

    def __enter__(self) -> _Largest:
        self.hooks = [
            each.register_forward_hook(lambda module, args, out, name=name: self._note(name, out))
            for name, each in self.leaves.items()
        ]
        return self

    def __exit__(self, *_: Any) -> None:
        for hook in self.hooks:
            hook.remove()

    def _note(self, name: str, out: Any) -> None:
        if isinstance(out, Tensor) and out.numel():
            most = out.detach().float().abs().nan_to_num(torch.inf, torch.inf).max().item()
            self.found[name] = max(most, self.found.get(name, 0.0))

    def sorted(self) -> list[tuple[str, float]]:
        return sorted(self.found.items(), key=lambda pair: -pair[1])


def _devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def get_random_states(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in _devices(device))]


def _set_random_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)
