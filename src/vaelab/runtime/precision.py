"""Whether bfloat16 is fast here; without hardware support it is ten times slower or more."""

import logging

import torch

log = logging.getLogger(__name__)


def is_bf16_fast(on_cpu: bool) -> bool:
    """True if this machine has instructions for bfloat16."""
    return not on_cpu or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def warn_if_bf16_is_slow(option: str, on_cpu: bool) -> None:
    """Warn if bfloat16 is slow on this machine.

    Arguments:
        option: The option that asks for it.
    """
    if not is_bf16_fast(on_cpu):
        log.warning("%s: this CPU has no bf16 instructions, 32-true is much faster", option)
