"""Replaces values that only the user's machine can compute, so that a recorded run opens anywhere.

A run folder records its config with interpolations. Those that name other keys stay. Those that
read the environment or call a resolver are replaced by their values before the training:
`optimizer.lr=${oc.env:MY_LR}` is recorded as 0.01.
"""

import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from vaelab.runtime.errors import UserError
from vaelab.runtime.files import atomic_write
from vaelab.runtime.trusted_config import has_safe_interpolations, iterate_values

ENVIRONMENT = re.compile(r"\$\{oc\.env:[^${}]*\}")  # a value that is one environment variable


def resolve_values(cfg: DictConfig) -> dict[str, Any]:
    """Replace, in place, the values that an opened run could not compute.

    The text of an environment variable is read as on the command line: 0.01 is a number.

    Returns:
        The new values by their dotted keys.

    Raises:
        UserError: If a value cannot be computed, or if it is an interpolation itself.
    """
    changed: dict[str, Any] = {}
    for path, text in iterate_values("", OmegaConf.to_container(cfg, resolve=False)):
        if not isinstance(text, str) or has_safe_interpolations(path, text):
            continue
        value = _resolve(cfg, path, text)
        if "${" in str(value):
            raise UserError(f"{path}={text} is {value}, which no run can record: write its value")
        changed[path] = value
        with flag_override(cfg, ["struct", "readonly"], False):
            OmegaConf.update(cfg, path, value, merge=False)
    return changed


def _resolve(cfg: DictConfig, path: str, text: str) -> Any:
    try:
        value = OmegaConf.select(cfg, path, throw_on_resolution_failure=True)
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0].rpartition("resolving interpolation: ")[2].strip('"')
        raise UserError(f"{path}={text} cannot be computed: {reason}") from error
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    return _parse_text(value) if ENVIRONMENT.fullmatch(text) and isinstance(value, str) else value


def _parse_text(text: str) -> Any:
    """Return the value that a text has on the command line, or the text if it has none there."""
    try:
        override = OverridesParser.create().parse_override(f"x={text}")
    except HydraException:
        return text
    return text if not text or override.is_sweep_override() else override.value()


def resolve_precision(cfg: DictConfig) -> bool:
    """Replace `trainer.precision=auto`, in place, by what is fast on this machine.

    Returns:
        True if it was replaced.
    """
    import torch  # slow to import, and not needed for --help

    from vaelab.runtime.precision import choose_precision

    if cfg.trainer.precision != "auto":
        return False
    on_cpu = cfg.trainer.accelerator == "cpu" or not torch.cuda.is_available()
    cfg.trainer.precision = choose_precision(on_cpu)
    return True


def record_config(cfg: DictConfig, folder: Path) -> None:
    """Write .hydra/config.yaml of a run folder again, which Hydra wrote before values changed."""
    with atomic_write(folder / ".hydra" / "config.yaml") as part:
        OmegaConf.save(cfg, part)
