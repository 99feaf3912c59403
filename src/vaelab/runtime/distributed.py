"""Rank, reductions and progress bars of the processes of `trainer=ddp` and of torchrun."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def mean_over_processes(x: Tensor) -> Tensor:
    """Return the mean of the tensors of all processes."""
    return sum_over_processes(x) / rank_and_world_size()[1]


@torch.no_grad()
def sum_over_processes(x: Tensor) -> Tensor:
    """Return the sum of the tensors of all processes, without a gradient."""
    if rank_and_world_size()[1] == 1:
        return x.detach()
    total = x.detach().clone()
    torch.distributed.all_reduce(total)
    return total


@torch.no_grad()
def broadcast_from_first_process(x: Tensor) -> Tensor:
    """Return the tensor of the first process, without a gradient."""
    if rank_and_world_size()[1] == 1:
        return x.detach()
    first = x.detach().clone()
    torch.distributed.broadcast(first, 0)
    return first


def merge_over_processes(own: dict[int, Any]) -> dict[int, Any]:
    """Return the union of the dicts of all processes, on every process."""
    if rank_and_world_size()[1] == 1:
        return own
    every: list[Any] = [None] * rank_and_world_size()[1]
    torch.distributed.all_gather_object(every, own)
    return {key: value for part in every for key, value in part.items()}


@contextmanager
def torchrun_process_group() -> Iterator[None]:
    """Create the process group of a command that torchrun started; do nothing otherwise."""
    if not torch.distributed.is_torchelastic_launched():
        yield
        return
    gpus = torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % gpus)
    has_own_gpu = gpus >= int(os.environ["LOCAL_WORLD_SIZE"])  # nccl needs one for each process
    torch.distributed.init_process_group("nccl" if has_own_gpu else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def wait_for_all_processes() -> None:
    """Block until every process has called this."""
    if rank_and_world_size()[1] > 1:
        torch.distributed.barrier()


def progress_bar(items: Iterable[T], title: str) -> "tqdm[T]":
    """Return items that the first process shows with a progress bar, if it has a terminal."""
    return tqdm(items, title, leave=False, disable=True if rank_and_world_size()[0] else None)
