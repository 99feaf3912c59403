"""What one process of several knows of the others: `trainer=ddp`."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """The number of this process and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def mean_over_processes(x: Tensor) -> Tensor:
    """The mean of what each process holds."""
    return sum_over_processes(x) / rank_and_world_size()[1]


@torch.no_grad()
def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of what each process holds."""
    if rank_and_world_size()[1] == 1:
        return x.detach()
    total = x.detach().clone()
    torch.distributed.all_reduce(total)
    return total


@torch.no_grad()
def broadcast_from_first_process(x: Tensor) -> Tensor:
    """What the first process holds."""
    if rank_and_world_size()[1] == 1:
        return x.detach()
    first = x.detach().clone()
    torch.distributed.broadcast(first, 0)
    return first


def merge_over_processes(own: dict[int, Any]) -> dict[int, Any]:
    """The dicts of all processes in one, for every process."""
    if rank_and_world_size()[1] == 1:
        return own
    every: list[Any] = [None] * rank_and_world_size()[1]
    torch.distributed.all_gather_object(every, own)
    return {key: value for part in every for key, value in part.items()}


@contextmanager
def torchrun_process_group() -> Iterator[None]:
    """Inside, the processes that torchrun started, if it did, know of each other."""
    if not torch.distributed.is_torchelastic_launched():
        yield
        return
    gpus = torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % gpus)
    of_their_own = gpus >= int(os.environ["LOCAL_WORLD_SIZE"])  # as nccl wants it
    torch.distributed.init_process_group("nccl" if of_their_own else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def wait_for_all_processes() -> None:
    """Return when every process has come here."""
    if rank_and_world_size()[1] > 1:
        torch.distributed.barrier()


def progress_bar(items: Iterable[T], title: str) -> "tqdm[T]":
    """Items with a progress bar of the first process; silent where there is no terminal."""
    return tqdm(items, title, leave=False, disable=True if rank_and_world_size()[0] else None)
