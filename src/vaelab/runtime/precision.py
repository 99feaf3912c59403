"""bfloat16: fast where a processor has instructions for it, ten times slower or more where not."""

import logging

import torch

log = logging.getLogger(__name__)


def is_bf16_fast(on_cpu: bool) -> bool:
    """Whether this machine computes in it."""
    return not on_cpu or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def warn_if_bf16_is_slow(option: str, on_cpu: bool) -> None:
    """Say at the start what would otherwise be found out by waiting."""
    if not is_bf16_fast(on_cpu):
        log.warning("%s: this CPU has no bf16, 32-true is much faster", option)
