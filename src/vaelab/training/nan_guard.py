"""What happens when a loss or gradient is NaN or infinite: `on_nan=stop|skip|restore|ignore`.

    stop     end the run with one line that names the loss term, the batch and the reason
    skip     leave the weights as they are and continue with the next batch
    restore  return weights and optimizer to their state 50 to 100 steps ago and continue
    ignore   do not check

Non-finite gradients never reach the optimizer. When one is found, the batch is recomputed to name
the loss term and the largest activations. A healthy step costs one extra pass over its gradients.

Reading the result of a check from a GPU would make every step wait, so it is read every 10 steps.
Until then a fused optimizer skips non-finite gradients itself. Where that is not possible, and with
on_nan=skip, the result is read in every step.
"""

import logging
from collections import deque
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim import Optimizer

from vaelab.runtime.distributed import merge_over_processes, rank_and_world_size
from vaelab.runtime.errors import UserError
from vaelab.runtime.private_api import averaged_model, is_last_training_batch
from vaelab.training.base import Batch, TrainableModule
from vaelab.training.nan_diagnosis import (
    NonFiniteEvent,
    RecordedBatch,
    diagnose_batch,
    get_random_states,
    save_event,
)

OnNaN = Literal["stop", "skip", "restore", "ignore"]

MIN_LOSS_SCALE = 2.0**-24  # of a loss scaler; it starts at 2^16 and halves in every skipped step
MAX_EVENTS_IN_A_ROW = 10  # without a healthy stretch in between; more stop any run
DELAYED_DEVICES = ("cuda",)  # kinds of devices whose check is not read in every step
CHECK_INTERVAL = 10  # steps from one reading of a GPU's check to the next
COPY_INTERVAL = 50  # steps between copies for on_nan=restore; a multiple of CHECK_INTERVAL
MAX_SAVED_EVENTS = 5  # events that are diagnosed and saved

log = logging.getLogger(__name__)


class NaNGuard:
    """Checks the losses and gradients of one training.

    Arguments:
        on_nan: What to do about a non-finite step.

    Attributes:
        events: The number of non-finite steps so far.
        in_a_row: The number of those since the last healthy stretch.
        overflows: The number of steps in a row that a loss scaler skips because of their gradients.
    """

    def __init__(self, on_nan: OnNaN = "stop"):
        if on_nan not in ("stop", "skip", "restore", "ignore"):
            raise UserError(f"on_nan={on_nan}: choose from stop, skip, restore, ignore")
        self.on_nan = on_nan
        self.events = 0
        self.in_a_row = 0
        self.overflows = 0

    def start(self, module: TrainableModule) -> None:
        """Prepare for a training; called when optimizer and weights are on their device."""
        trainer: Trainer = module.trainer
        device, optimizer = module.device, trainer.optimizers[0]
        self.batches: list[RecordedBatch] = []
        self.losses: list[Tensor] = []
        self.is_unsettled = False  # True between an optimizer step and `settle`
        self.found, self.one = torch.zeros((), device=device), torch.ones((), device=device)
        persistent = module.state_dict()
        self.buffers = [each for name, each in module.named_buffers() if name in persistent]
        self.saved_buffers = [each.clone() for each in self.buffers]
        self.overflow = torch.zeros((), device=device)
        self.scaler: Any = getattr(trainer.precision_plugin, "scaler", None)
        self.has_scaler = self.scaler is not None and self.scaler.is_enabled()
        self.is_delayed = (
            device.type in DELAYED_DEVICES
            and self.on_nan != "skip"
            and bool(optimizer.param_groups[0].get("fused"))
            and not (self.buffers or self.has_scaler)
            and trainer.accumulate_grad_batches == 1
        )
        averages = [
            averaged_model(callback)
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(callback, WeightAveraging)
        ]
        self.restorable: list[Any] = [module, optimizer, *filter(None, averages)]
        self.copies: deque[list[Any]] = deque(maxlen=2)
        self.copied_at = trainer.global_step
        if self.on_nan == "restore":
            self._copy_states()

    @property
    def is_active(self) -> bool:
        return self.on_nan != "ignore"

    def record_batch(self, module: TrainableModule, batch: Batch, number: int) -> None:
        """Record a batch before its loss is computed, so that it can be recomputed.

        Arguments:
            number: The number of the batch in its epoch.
        """
        if not self.is_active:
            return
        if not self.batches and self.buffers:
            torch._foreach_copy_(self.saved_buffers, self.buffers)
        states, epoch = get_random_states(module.device), module.current_epoch
        self.batches.append(RecordedBatch(batch, number, epoch, module.global_step, states))

    def record_loss(self, loss: Tensor) -> None:
        """Record the loss () of the batch."""
        if self.is_active:
            self.batches[-1].loss = loss.detach()
            self.losses.append(loss.detach())

    def check_gradients(self, optimizer: Optimizer) -> None:
        """Keep non-finite gradients from the optimizer; called before its step.

        The scaler of 16-mixed checks gradients itself and regularly finds infinite ones, until its
        scale has fallen far enough. They are only counted, see `_check_overflow`.
        """
        if not self.is_active:
            return
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        # As in GradScaler: one pass, here times 1, which sets `found` to 1 for a non-finite value.
        check = torch._amp_foreach_non_finite_check_and_unscale_
        check(self.losses if self.has_scaler else [*self.losses, *gradients], self.found, self.one)
        if self.has_scaler and gradients:
            check(gradients, self.overflow.zero_(), self.one)
            self.overflows = self.overflows + 1 if self.overflow.item() else 0
        if rank_and_world_size()[1] > 1:
            torch.distributed.all_reduce(self.found, torch.distributed.ReduceOp.MAX)
        self.losses.clear()
        self.is_unsettled = True
        if self.is_delayed:
            optimizer.found_inf = self.found  # type: ignore[attr-defined]
            self.batches[-1].found = self.found.clone()
        elif self.found.item():
            self._void_gradients(weights)
            self._restore_buffers()  # before a callback averages or saves them
            self._count_event()

    def _void_gradients(self, weights: list[Tensor]) -> None:
        """Replace gradients by values that make the optimizer, or the scaler, skip its step."""
        for weight in weights:
            if not self.has_scaler:
                weight.grad = None
            elif weight.grad is not None:
                weight.grad.fill_(torch.inf)

    def settle(self, module: TrainableModule) -> None:
        """React to what the check has found; called at the end of a step."""
        if not self.is_active or not self.is_unsettled:
            return
        is_last = is_last_training_batch(module.trainer)
        if self.is_delayed and len(self.batches) < CHECK_INTERVAL and not is_last:
            return
        if self.found.item():
            self._react(module)
        elif self.overflows:
            self._check_overflow(module)
        else:
            self._accept(module)
        self.batches.clear()
        self.is_unsettled = False

    def _count_event(self) -> None:
        self.events += 1
        self.in_a_row += 1

    def state_dict(self) -> dict[str, int]:
        return {"events": self.events, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.events, self.in_a_row = state["events"], state["in_a_row"]

    def logged_counts(self) -> dict[str, int]:
        """Return the counts that are logged during the training."""
        names = {"skip": "skipped", "restore": "restored"}
        return {names[self.on_nan]: self.events} if self.on_nan in names else {}

    def final_counts(self) -> dict[str, int]:
        """Return the counts of the whole run, which may have been resumed with another on_nan."""
        return self.logged_counts() or ({"skipped": self.events} if self.events else {})

    def _accept(self, module: TrainableModule) -> None:
        if self.on_nan != "restore":
            self.in_a_row = 0
        elif module.global_step >= self.copied_at + COPY_INTERVAL:
            self.in_a_row = 0
            self.copied_at = module.global_step
            self._copy_states()

    def _react(self, module: TrainableModule) -> None:
        self.found.zero_()
        if self.is_delayed:
            self._count_event()
        stops = self.on_nan == "stop" or self.in_a_row > MAX_EVENTS_IN_A_ROW
        if stops or self.events <= MAX_SAVED_EVENTS:
            event = self._diagnose(module)
            if stops:
                self._stop_training(module, event)
            if rank_and_world_size()[0] == 0:
                action = "skipped" if self.on_nan == "skip" else "older weights restored"
                log.warning(f"{event.summary}: {action} ({event.details})")
        if self.on_nan == "restore":
            self._restore_states(module)

    def _check_overflow(self, module: TrainableModule) -> None:
        """Stop if the loss scaler would skip every step: the scale is not what makes gradients so.

        The batch is recomputed without a scale after MAX_EVENTS_IN_A_ROW skipped steps.
        """
        if self.overflows <= MAX_EVENTS_IN_A_ROW:
            return
        cause = self._find_cause(module)
        if cause or self.scaler.get_scale() < MIN_LOSS_SCALE:
            self.in_a_row = self.overflows
            self._stop_training(module, cause or self._unknown_cause(module))

    def _stop_training(self, module: TrainableModule, event: NonFiniteEvent) -> None:
        path = Path(module.trainer.default_root_dir, "checkpoints", "last.ckpt")
        saved = ""
        if all(weight.isfinite().all() for weight in module.state_dict().values()):
            module.trainer.save_checkpoint(path, weights_only=False)
            saved = f", the weights before it in {path}"
        repeated = f", the {self.in_a_row}th time in a row" if self.in_a_row > 1 else ""
        raise UserError(
            f"{event.summary}{repeated}: {self._list_remedies(module)} ({event.details}{saved})"
        )

    def _list_remedies(self, module: TrainableModule) -> str:
        """Return what may help, without what is set already."""
        remedies = ["lower optimizer.lr"]
        if not module.trainer.gradient_clip_val:
            remedies.append("set trainer.gradient_clip_val")
        if self.on_nan == "stop":
            remedies.append("set on_nan=skip if single batches cause it")
        return ", or ".join([", ".join(remedies[:-1]), remedies[-1]] if remedies[1:] else remedies)

    def _copy_states(self) -> None:
        self.copies.append(deepcopy([each.state_dict() for each in self.restorable]))

    def _restore_states(self, module: TrainableModule) -> None:
        """Restore the older of two copies: the newer one may already contain the cause."""
        copy = self.copies[0]
        groups = module.trainer.optimizers[0].param_groups
        learning_rates = [group["lr"] for group in groups]
        for restorable, state in zip(self.restorable, deepcopy(copy), strict=True):
            restorable.load_state_dict(state)
        for group, learning_rate in zip(groups, learning_rates, strict=True):
            group["lr"] = learning_rate
        self.copies.clear()
        self.copies.append(copy)
        self.copied_at = module.global_step

    def _restore_buffers(self) -> None:
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.saved_buffers)

    def _diagnose(self, module: TrainableModule) -> NonFiniteEvent:
        """Return the cause of a non-finite step, or that there is none in a single batch."""
        return self._find_cause(module) or self._unknown_cause(module)

    def _find_cause(self, module: TrainableModule) -> NonFiniteEvent | None:
        """Return the event of the first process that finds a cause, and save its batch."""
        rank, suspects = rank_and_world_size()[0], self._list_suspects()
        events = [diagnose_batch(module, suspect) for suspect in suspects]
        self._restore_buffers()
        own = next((event for event in events if event.names), None)
        if own:
            suspect = suspects[events.index(own)]
            own = own._replace(file=str(save_event(module, suspect, own)))
        causes = [event for _, event in sorted(merge_over_processes({rank: own}).items()) if event]
        return causes[0] if causes else None

    def _list_suspects(self) -> list[RecordedBatch]:
        """Return the batches of the non-finite step."""
        if not self.is_delayed:
            return self.batches
        marked = torch.stack([each.found for each in self.batches if each.found is not None])
        return self.batches[int(marked.argmax()) :][:1]

    def _unknown_cause(self, module: TrainableModule) -> NonFiniteEvent:
        """Return an event of the last batch, and save the batch."""
        suspect = self._list_suspects()[-1]
        event = diagnose_batch(module, suspect)._replace(names=["the sum of gradients"])
        self._restore_buffers()
        return event._replace(file=str(save_event(module, suspect, event)))
