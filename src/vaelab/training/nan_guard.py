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

import logging
from collections import deque
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim import Optimizer

from vaelab.runtime.distributed import merge_over_processes, rank_and_world_size
from vaelab.training.nan_diagnosis import (
    NonFiniteEvent,
    RecordedBatch,
    diagnose_batch,
    get_random_states,
    save_event,
)

if TYPE_CHECKING:
    from vaelab.module import Batch, VAEModule

OnNaN = Literal["stop", "skip", "restore", "ignore"]

LIMIT = 10  # events without a healthy stretch in between, after which any run stops
LATE = ("cuda",)  # kinds of devices that are not waited for in every step
LOOK = 10  # steps of a GPU from one look to the next
KEEP = 50  # steps from one copy for on_nan=restore to the next; a multiple of LOOK
FILES = 5  # events that are looked into and saved

log = logging.getLogger(__name__)


class NaNGuard:
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
        self.attempts: list[RecordedBatch] = []
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
        states, epoch = get_random_states(module.device), module.current_epoch
        self.attempts.append(RecordedBatch(batch, number, epoch, module.global_step, states))

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
        if rank_and_world_size()[1] > 1:
            torch.distributed.all_reduce(self.found, torch.distributed.ReduceOp.MAX)
        self.losses.clear()
        self.asked = True
        if self.late:
            optimizer.found_inf = self.found  # type: ignore[attr-defined]
            self.attempts[-1].found = self.found.clone()
        elif self.found.item():
            self._void(weights)
            self._put_buffers_back()  # before a callback averages or saves them
            self._count()

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

    def _count(self) -> None:
        self.events += 1
        self.in_a_row += 1

    def state_dict(self) -> dict[str, int]:
        return {"events": self.events, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.events, self.in_a_row = state["events"], state["in_a_row"]

    def counted(self) -> dict[str, int]:
        """What is logged of it."""
        names = {"skip": "skipped", "restore": "restored"}
        return {names[self.on_nan]: self.events} if self.on_nan in names else {}

    def counted_at_end(self) -> dict[str, int]:
        """The same, and what a run has passed over that stopped there and went on."""
        return self.counted() or ({"skipped": self.events} if self.events else {})

    def _go_on(self, module: VAEModule) -> None:
        if self.on_nan != "restore":
            self.in_a_row = 0
        elif module.global_step >= self.copied + KEEP:
            self.in_a_row = 0
            self.copied = module.global_step
            self._copy()

    def _act(self, module: VAEModule) -> None:
        self.found.zero_()
        if self.late:
            self._count()
        stops = self.on_nan == "stop" or self.in_a_row > LIMIT
        if stops or self.events <= FILES:
            event = self._examined(module)
            if stops:
                self._stop(module, event)
            if rank_and_world_size()[0] == 0:
                done = "skipped" if self.on_nan == "skip" else "older weights restored"
                log.warning(f"{event.what}: {done} ({event.where})")
        if self.on_nan == "restore":
            self._restore(module)

    def _stop(self, module: VAEModule, event: NonFiniteEvent) -> None:
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

    def _examined(self, module: VAEModule) -> NonFiniteEvent:
        """The event as the first process sees it that finds its reason; the batch is saved."""
        rank, suspects = rank_and_world_size()[0], self.attempts
        if self.late:
            marked = torch.stack([each.found for each in suspects if each.found is not None])
            suspects = suspects[int(marked.argmax()) :][:1]
        events = [diagnose_batch(module, each) for each in suspects]
        self._put_buffers_back()
        mine = next((each for each in events if each.names), None)
        if mine:
            attempt = suspects[events.index(mine)]
            mine = mine._replace(file=str(save_event(module, attempt, mine)))
        first = [each for _, each in sorted(merge_over_processes({rank: mine}).items()) if each]
        if first:
            return first[0]
        unknown = events[-1]._replace(names=["the sum of gradients"])
        return unknown._replace(file=str(save_event(module, suspects[-1], unknown)))
