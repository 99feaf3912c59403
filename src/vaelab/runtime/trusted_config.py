"""Checks which classes a config may build, for configs that may come from anybody."""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from vaelab.runtime import own_project
from vaelab.runtime.errors import UserError

TRUSTED = (
    "vaelab.",
    "torch.optim.",
    "torchmetrics.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
    "pytorch_lightning.trainer.",
)
TRAINER = "pytorch_lightning.Trainer"  # the public name of a class of pytorch_lightning.trainer
HYDRA_KEYS = ("_target_", "_partial_")  # the keys of Hydra that experiments need
KEY = r"[A-Za-z_]\w*(?:\.\w+)*"
INTERPOLATIONS = re.compile(  # to other keys of the config, and to Hydra's name of the run folder
    rf"\$\{{(?:{KEY}|oc\.select:{KEY},[\w.-]+|hydra:(?:runtime\.output_dir|job\.override_dirname))\}}"
)
DATA_ROOT = "${oc.env:VAELAB_DATA,data}"  # of data.root, which alone may read the environment


def check_config(cfg: DictConfig, trust: Iterable[str] = ()) -> None:
    """Check that a config builds only parts of an experiment and reads only its own keys.

    An interpolation may name another key; `${oc.select:key,default}` and the two values of Hydra
    that conf/ uses are accepted too. Only data.root may read the environment, as in conf/data.

    Arguments:
        trust: Packages whose classes and functions are accepted as well, besides those of --trust
            and VAELAB_TRUST.

    Raises:
        UserError: If the config asks for anything else.
    """
    check_target_names(cfg, trust)
    for path, value in iterate_values("", OmegaConf.to_container(cfg, resolve=False)):
        key = path.rpartition(".")[2]
        if key == "_target_":
            _check_target(path, value, _own_prefixes(trust))
        elif re.fullmatch("_.*_", key) and key not in HYDRA_KEYS:
            raise UserError(
                f"{path}: the config of a run may contain {' and '.join(HYDRA_KEYS)} only"
            )
        if isinstance(value, str) and not has_safe_interpolations(path, value):
            raise UserError(
                f"{path}: {value}: an untrusted config may only refer to its own keys: replace the "
                "interpolation by its value if you trust it"
            )


def iterate_values(path: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value of nested dicts and lists with its dotted key."""
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            child_path = f"{path}.{key}" if path else str(key)
            yield child_path, child
            yield from iterate_values(child_path, child)


def check_target_names(cfg: DictConfig, trust: Iterable[str] = ()) -> None:
    """Check the names of all classes that a config builds, and import none of them.

    Arguments:
        trust: See `check_config`.

    Raises:
        UserError: If a class belongs to no trusted package.
    """
    trusted = (*TRUSTED, TRAINER, *_own_prefixes(trust))
    for path, target in iterate_values("", OmegaConf.to_container(cfg, resolve=False)):
        is_target = path.rpartition(".")[2] == "_target_"
        if is_target and not (isinstance(target, str) and target.startswith(trusted)):
            raise UserError(_describe_untrusted(path, target))


def _own_prefixes(trust: Iterable[str]) -> tuple[str, ...]:
    """Return the names of trusted packages, each with a dot at its end."""
    packages = (*own_project.trusted_packages(), *own_project.check_packages(trust))
    return tuple(f"{package}." for package in packages)


def _check_target(path: str, target: str, own: tuple[str, ...]) -> None:
    """Raise UserError unless the target is a trusted class, or a function of an own package."""
    try:
        found = get_object(target)
    except Exception as error:  # importing a module may raise anything
        cause = f" ({_describe_cause(error)})" if target.startswith(own) else ""
        raise UserError(f"{path}: {target}: there is no such class{cause}") from error
    module = f"{getattr(found, '__module__', '')}."
    is_own = module.startswith(own) and (inspect.isfunction(found) or inspect.ismethod(found))
    if not is_own and not (inspect.isclass(found) and module.startswith((*TRUSTED, *own))):
        raise UserError(_describe_untrusted(path, target))


def _describe_untrusted(path: str, target: Any) -> str:
    """Return what is wrong with a target, and how to trust the package that it names."""
    is_name = isinstance(target, str) and own_project.PACKAGE.fullmatch(target)
    package = target.partition(".")[0] if is_name else ""
    if not package or not own_project.can_be_trusted(package):
        return f"{path}: {target} is not a class of {' or '.join(TRUSTED)}"
    if package in own_project.trusted_packages():
        return f"{path}: {target} is not a class or function that {package} defines"
    return (
        f"{path.removesuffix('._target_')}: {target} is not trusted: if you trust the package, add "
        f"--trust {package} (or set VAELAB_TRUST={package}), which opening its runs needs too"
    )


def _describe_cause(error: BaseException) -> str:
    """Return the error of an import in one line, without Hydra's words around it."""
    while error.__cause__:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"[:200].replace("\n", " ")


def has_safe_interpolations(path: str, value: str) -> bool:
    """True if a value of a config needs nothing but the config and Hydra's run folder."""
    is_data_root = path == "data.root" and value == DATA_ROOT
    return is_data_root or "${" not in INTERPOLATIONS.sub("", value)
