"""What a device can compute: fast bfloat16, and float64.

Without hardware support bfloat16 is ten times slower or more. Apple GPUs have no float64.
"""

import logging

import torch
from torch import Tensor

WITHOUT_FLOAT64 = ("mps",)  # types of devices; torch raises TypeError for float64 there
log = logging.getLogger(__name__)


def is_bf16_fast(on_cpu: bool) -> bool:
    """True if this machine has instructions for bfloat16."""
    if not on_cpu:
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def choose_precision(on_cpu: bool) -> str:
    """Return bf16-mixed if this machine has instructions for bfloat16, else 32-true."""
    return "bf16-mixed" if is_bf16_fast(on_cpu) else "32-true"


def warn_if_bf16_is_slow(option: str, on_cpu: bool) -> None:
    """Warn if bfloat16 is slow on this machine.

    Arguments:
        option: The option that asks for it.
    """
    if not is_bf16_fast(on_cpu):
        log.warning("%s: this CPU has no bf16 instructions, 32-true is much faster", option)


def has_float64(device: torch.device) -> bool:
    """True if tensors of a device can be float64."""
    return device.type not in WITHOUT_FLOAT64


def to_double(x: Tensor) -> Tensor:
    """Return x in float64, on the CPU if its device has no float64."""
    return x.double() if has_float64(x.device) else x.cpu().double()
