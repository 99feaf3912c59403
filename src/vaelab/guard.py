"""What is done about a loss or gradient that is not finite: `on_nan=stop|skip|restore|ignore`.

    stop     the run ends with one line that says what, where and why
    skip     the step changes nothing, and the training goes on
    restore  weights and optimizer go back 50 to 100 steps, and the training goes on
    ignore   nobody looks

Whatever is chosen, the optimizer never sees such a gradient, so that the weights stay as they were
before the step. Which term it was and where the activations are large is found by computing the
batch once more, afterwards: a healthy step only pays for one pass over its gradients.

A GPU would have to be waited for in every step, so its answer is read every 10 steps. Until then
the optimizer itself keeps the weights as they were, if it is a fused one. Where that cannot be
done, and with on_nan=skip, every step is waited for.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import WeightAveraging
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from vaelab.data.base import TrainingBatches
from vaelab.processes import merged, share

if TYPE_CHECKING:
    from vaelab.module import Batch, VAEModule

OnNaN = Literal["stop", "skip", "restore", "ignore"]

LIMIT = 10  # events without a healthy stretch in between, after which any run stops
LATE = ("cuda",)  # kinds of devices that are not waited for in every step
LOOK = 10  # steps of a GPU from one look to the next
KEEP = 50  # steps from one copy for on_nan=restore to the next; a multiple of LOOK
FILES = 5  # events that are looked into and saved
NAMED = 3  # activations in the line of an event
FOLLOW = ("loss", "elbo")  # terms that are sums of the others

log = logging.getLogger(__name__)


@dataclass
class Attempt:
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


class Event(NamedTuple):
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


class Guard:
    """Watches the losses and gradients of one training.

    Attributes:
        events: How many steps have not been finite.
    """

    def __init__(self, on_nan: OnNaN = "stop"):
        if on_nan not in ("stop", "skip", "restore", "ignore"):
            raise ValueError(f"on_nan={on_nan}: choose from stop, skip, restore, ignore")
        self.on_nan = on_nan
        self.events = 0
        self.in_a_row = 0

    def start(self, module: VAEModule) -> None:
        """Called before the first step, when optimizer and weights are on their device."""
        trainer: Trainer = module.trainer
        device, optimizer = module.device, trainer.optimizers[0]
        self.attempts: list[Attempt] = []
        self.losses: list[Tensor] = []
        self.asked = False  # whether a step of the optimizer waits to be settled
        self.found, self.one = torch.zeros((), device=device), torch.ones((), device=device)
        persistent = module.state_dict()
        self.buffers = [each for name, each in module.named_buffers() if name in persistent]
        self.before = [each.clone() for each in self.buffers]
        self.scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        self.late = (
            device.type in LATE
            and self.on_nan != "skip"
            and bool(optimizer.param_groups[0].get("fused"))
            and not (self.buffers or self.scaled)
            and trainer.accumulate_grad_batches == 1
        )
        averages = [
            each._average_model
            for each in trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(each, WeightAveraging)
        ]
        self.kept: list[Any] = [module, optimizer, *filter(None, averages)]
        self.copies: deque[list[Any]] = deque(maxlen=2)
        self.copied = trainer.global_step
        if self.on_nan == "restore":
            self._copy()

    @property
    def watching(self) -> bool:
        return self.on_nan != "ignore"

    def remember(self, module: VAEModule, batch: Batch, number: int) -> None:
        """Called before the loss of a batch is computed."""
        if not self.watching:
            return
        if not self.attempts and self.buffers:
            torch._foreach_copy_(self.before, self.buffers)
        states, epoch = _random_states(module.device), module.current_epoch
        self.attempts.append(Attempt(batch, number, epoch, module.global_step, states))

    def note(self, loss: Tensor) -> None:
        if self.watching:
            self.attempts[-1].loss = loss.detach()
            self.losses.append(loss.detach())

    def check(self, optimizer: Optimizer) -> None:
        """Called with the gradients of a step: keep the optimizer from what is not finite.

        The scaler of 16-mixed looks for infinite gradients itself, and finds them in the course of
        its work, so that there only losses are looked at.
        """
        if not self.watching:
            return
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        gradients = [] if self.scaled else [w.grad for w in weights if w.grad is not None]
        # What GradScaler does: one pass, here times 1, that sets `found` to 1 where need be.
        torch._amp_foreach_non_finite_check_and_unscale_(
            [*self.losses, *gradients], self.found, self.one
        )
        if share()[1] > 1:
            torch.distributed.all_reduce(self.found, torch.distributed.ReduceOp.MAX)
        self.losses.clear()
        self.asked = True
        if self.late:
            optimizer.found_inf = self.found  # type: ignore[attr-defined]
            self.attempts[-1].found = self.found.clone()
        elif self.found.item():
            self._void(weights)

    def _void(self, weights: list[Tensor]) -> None:
        """Gradients that an optimizer passes over, its states included, or a scaler."""
        for weight in weights:
            if not self.scaled:
                weight.grad = None
            elif weight.grad is not None:
                weight.grad.fill_(torch.inf)

    def settle(self, module: VAEModule) -> None:
        """Called at the end of a step: do what was asked for about what was found in it."""
        if not self.watching or not self.asked:
            return
        last = module.trainer.fit_loop.epoch_loop._is_training_done
        if self.late and len(self.attempts) < LOOK and not last:
            return
        if self.found.item():
            self._act(module)
        else:
            self._go_on(module)
        self.attempts.clear()
        self.asked = False

    def counted(self) -> dict[str, int]:
        """What is logged of it."""
        names = {"skip": "skipped", "restore": "restored"}
        return {names[self.on_nan]: self.events} if self.on_nan in names else {}

    def _go_on(self, module: VAEModule) -> None:
        if self.on_nan != "restore":
            self.in_a_row = 0
        elif module.global_step >= self.copied + KEEP:
            self.in_a_row = 0
            self.copied = module.global_step
            self._copy()

    def _act(self, module: VAEModule) -> None:
        self.found.zero_()
        self._put_buffers_back()
        self.events += 1
        self.in_a_row += 1
        stops = self.on_nan == "stop" or self.in_a_row > LIMIT
        if stops or self.events <= FILES:
            event = self._examined(module)
            if stops:
                self._stop(module, event)
            if share()[0] == 0:
                done = "skipped" if self.on_nan == "skip" else "older weights restored"
                log.warning(f"{event.what}: {done} ({event.where})")
        if self.on_nan == "restore":
            self._restore(module)

    def _stop(self, module: VAEModule, event: Event) -> None:
        last = Path(module.trainer.default_root_dir, "checkpoints", "last.ckpt")
        left = ""
        if all(weight.isfinite().all() for weight in module.state_dict().values()):
            module.trainer.save_checkpoint(last, weights_only=False)
            left = f", the weights before it in {last}"
        often = f", the {self.in_a_row}th time in a row" if self.in_a_row > 1 else ""
        raise ValueError(
            f"{event.what}{often}: lower optimizer.lr, set trainer.gradient_clip_val, or "
            f"on_nan=skip if the batch is to blame ({event.where}{left})"
        )

    def _copy(self) -> None:
        self.copies.append(deepcopy([each.state_dict() for each in self.kept]))

    def _restore(self, module: VAEModule) -> None:
        """The older of two copies: since the newer one, things may have begun to go wrong."""
        older = self.copies[0]
        groups = module.trainer.optimizers[0].param_groups
        rates = [group["lr"] for group in groups]
        for each, state in zip(self.kept, deepcopy(older), strict=True):
            each.load_state_dict(state)
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        self.copies.clear()
        self.copies.append(older)
        self.copied = module.global_step

    def _put_buffers_back(self) -> None:
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.before)

    def _examined(self, module: VAEModule) -> Event:
        """The event as the first process sees it that finds its reason; the batch is saved."""
        rank, suspects = share()[0], self.attempts
        if self.late:
            marked = torch.stack([each.found for each in suspects if each.found is not None])
            suspects = suspects[int(marked.argmax()) :][:1]
        events = [self._repeated(module, each) for each in suspects]
        mine = next((each for each in events if each.names), None)
        if mine:
            attempt = suspects[events.index(mine)]
            mine = mine._replace(file=str(_save(module, attempt, mine)))
        first = [each for _, each in sorted(merged({rank: mine}).items()) if each]
        if first:
            return first[0]
        unknown = events[-1]._replace(names=["the sum of gradients"])
        return unknown._replace(file=str(_save(module, suspects[-1], unknown)))

    def _repeated(self, module: VAEModule, attempt: Attempt) -> Event:
        """What was not finite when this batch was trained on."""
        with _Largest(module) as largest, torch.random.fork_rng(_devices(module.device)):
            _set_random_states(attempt.random, module.device)
            names = not_finite(module, attempt.batch, attempt.step)
        self._put_buffers_back()
        return Event(attempt.step + 1, attempt.epoch, attempt.number, names, largest.sorted())


def not_finite(module: VAEModule, batch: Batch, step: int) -> list[str]:
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


def repeat(module: VAEModule, path: Path) -> list[str]:
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
    return not_finite(module, (tensors["x"], tensors["y"]), said["step"] - 1)


def _save(module: VAEModule, attempt: Attempt, event: Event) -> Path:
    rank = share()[0]
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


def _random_states(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in _devices(device))]


def _set_random_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)
