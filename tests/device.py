"""A device without float64 for tests: like an Apple GPU, but its tensors are computed on the CPU.

Its tensors report the device `meta`. Every operator unwraps them, computes on the CPU, and wraps
the result. Like torch on an Apple GPU, it raises TypeError where a float64 tensor would be on the
device, and RuntimeError where tensors of two devices meet. The numbers are those of the CPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
aten: Any = torch.ops.aten
MIXED = (aten.copy_, aten._to_copy, aten._local_scalar_dense)  # may have tensors of two devices
INDEXED = (aten.index, aten.index_put, aten.index_put_)  # take indices that are on the CPU


class DeviceTensor(Tensor):
    """A tensor on the device; `host` holds its values."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> "DeviceTensor":
        layout = {"strides": host.stride(), "storage_offset": host.storage_offset()}
        return Tensor._make_wrapper_subclass(
            cls, host.shape, dtype=host.dtype, device=DEVICE, **layout
        )

    def __init__(self, host: Tensor):
        self.host = host

    def __repr__(self) -> str:
        return f"DeviceTensor({self.host})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute_on_host(func, args, kwargs or {})


class Device(TorchDispatchMode):
    """Inside, tensors can be created on the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return compute_on_host(func, args, kwargs or {})


class Constants(TorchFunctionMode):
    """Inside, numbers in lists become tensors by operators, which they do not on meta tensors."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is Tensor.__getitem__ and isinstance(args[1], list):
            args = args[0], torch.tensor(args[1])
        if func not in (torch.tensor, torch.as_tensor, Tensor.new_tensor):
            return func(*args, **kwargs)
        default = args[0].device if isinstance(args[0], Tensor) else "cpu"
        device = torch.device(kwargs.pop("device", None) or default)
        if func is Tensor.new_tensor:
            kwargs.setdefault("dtype", args[0].dtype)
            func, args = torch.tensor, args[1:]
        return func(*args, **kwargs).to(device)


def compute_on_host(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    assert all(isinstance(x, DeviceTensor) for x in tensors if x.device == DEVICE)
    on_device = [x for x in tensors if isinstance(x, DeviceTensor)]
    packet = func.overloadpacket
    if on_device and packet not in MIXED:
        check_devices(packet, tensors)
    is_result_on_device = bool(on_device) and (packet != aten.copy_ or tensors[0] is on_device[0])
    if kwargs.get("device") is not None:
        is_result_on_device = torch.device(kwargs["device"]) == DEVICE
        kwargs = {**kwargs, "device": "cpu"}
    results = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
    known = {id(x.host): x for x in on_device}  # operators in place return their argument

    def wrap(result: Any) -> Any:
        if not isinstance(result, Tensor) or not is_result_on_device:
            return result
        if result.dtype == torch.float64:
            raise TypeError(f"{func}: the device has no float64")
        return known[id(result)] if id(result) in known else DeviceTensor(result)

    return tree_map(wrap, results)


def check_devices(packet: Any, tensors: list[Tensor]) -> None:
    """Raise RuntimeError if a tensor on the CPU meets one of the device, unless it is a scalar."""
    others = tensors[1:] if packet not in INDEXED else []
    if any(x.ndim and not isinstance(x, DeviceTensor) for x in [*tensors[:1], *others]):
        raise RuntimeError(f"{packet}: expected all tensors to be on the same device")


def unwrap(x: Any) -> Any:
    return x.host if isinstance(x, DeviceTensor) else x


@contextmanager
def device_without_float64(monkeypatch: Any) -> Iterator[torch.device]:
    """Yield the device; autocast, which meta tensors do not have, does nothing on it."""
    autocast, is_enabled = torch.autocast, torch.is_autocast_enabled

    def autocast_elsewhere(kind: str, *settings: Any, **more: Any) -> Any:
        return nullcontext() if kind == DEVICE.type else autocast(kind, *settings, **more)

    monkeypatch.setattr(torch, "autocast", autocast_elsewhere)
    monkeypatch.setattr(
        torch, "is_autocast_enabled", lambda kind: kind != DEVICE.type and is_enabled(kind)
    )
    monkeypatch.setattr("vaelab.runtime.precision.WITHOUT_FLOAT64", (DEVICE.type,))
    with Device(), Constants():
        yield DEVICE
