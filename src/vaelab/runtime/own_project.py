"""The user's own project: a folder of options that joins conf/, and packages that are trusted.

The folder is that of `--config-dir`, of VAELAB_CONF, or ./conf. The packages are those of `--trust`
and VAELAB_TRUST. The entry point of the command line writes both into the environment, where other
processes of the command find them. Nothing in a run folder can change either.
"""

import keyword
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vaelab.runtime.errors import UserError
from vaelab.runtime.files import expand_home
from vaelab.runtime.installation import CONF, train_command
from vaelab.runtime.overrides import quote_for_shell

CONF_VARIABLE = "VAELAB_CONF"  # the folder of own options; set but empty means that there is none
TRUST_VARIABLE = "VAELAB_TRUST"  # names of packages, separated by commas
FLAGS = {"--config-dir": CONF_VARIABLE, "-cd": CONF_VARIABLE, "--trust": TRUST_VARIABLE}
RUN_RECORDS = (".hydra", "multirun.yaml")  # in the folder of a run, and of a multirun
PACKAGE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
# Some functions of these libraries start programs or read pickles. Their classes that experiments
# need are trusted already, see trusted_config.TRUSTED.
LIBRARIES = (
    *("vaelab", "torch", "torchmetrics", "pytorch_lightning", "lightning_fabric", "lightning"),
    *("hydra", "omegaconf"),
)


@contextmanager
def project_environment(words: Iterable[str]) -> Iterator[list[str]]:
    """Apply --config-dir and --trust for the duration of a command; yield its other words.

    Raises:
        UserError: If the folder or the name of a package cannot be used.
    """
    others, settings = split_flags(words)
    before = {name: os.environ.get(name) for name in (CONF_VARIABLE, TRUST_VARIABLE)}
    search_path = list(sys.path)
    os.environ.update(settings)
    try:
        folder = find_own_conf()
        os.environ[CONF_VARIABLE] = str(folder or "")
        os.environ[TRUST_VARIABLE] = ",".join(trusted_packages())
        extend_import_path()
        yield others
    finally:
        sys.path[:] = search_path
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def split_flags(words: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Return the words without the flags, and the values of their environment variables."""
    others, settings = [], {}
    remaining = iter(words)
    for word in remaining:
        flag, is_joined, value = word.partition("=")
        if flag not in FLAGS:
            others.append(word)
            continue
        value = value if is_joined else next(remaining, "")
        if not value:
            raise UserError(f"{flag} needs a value, as in {flag} {_example(flag)}")
        name = FLAGS[flag]
        earlier = settings.get(name, os.environ.get(name))
        settings[name] = f"{earlier},{value}" if name == TRUST_VARIABLE and earlier else value
    return others, settings


def _example(flag: str) -> str:
    return "mypackage" if flag == "--trust" else "conf"


def find_own_conf() -> Path | None:
    """Return the folder of own options, or None if there is none.

    Raises:
        UserError: If a folder that the user named cannot be used, or if an own option has the name
            of one of vaelab's.
    """
    named = os.environ.get(CONF_VARIABLE)
    if named == "":
        return None
    folder = expand_home(named or "conf").resolve()
    if folder == CONF.resolve():
        return None
    if named is None:
        if not folder.is_dir() or is_inside_run(folder) or _is_clone(folder.parent):
            return None
    elif not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder of options: see --config-dir")
    elif is_inside_run(folder):
        raise UserError(
            f"{folder} lies in a run folder, which may be untrusted: copy it to another place"
        )
    for file in sorted(folder.rglob("*.yaml")):
        name = file.relative_to(folder)
        if (CONF / name).exists():
            raise UserError(
                f"{file}: vaelab has {name.as_posix()} already, and own options cannot replace "
                "it: give the file another name"
            )
    return folder


def is_inside_run(folder: Path) -> bool:
    """True if a folder, or one that contains it, is that of a run or of a multirun."""
    return any(
        (parent / name).exists() for parent in (folder, *folder.parents) for name in RUN_RECORDS
    )


def _is_clone(folder: Path) -> bool:
    """True for another clone of vaelab, whose conf/ holds the files of vaelab."""
    return (folder / "src" / "vaelab" / "runs").is_dir()


def trusted_packages() -> list[str]:
    """Return the packages that the user trusts.

    Raises:
        UserError: If a name is not that of a package, or if its functions would make opening a run
            unsafe.
    """
    names = os.environ.get(TRUST_VARIABLE, "")
    return check_packages(names) if names else []


def check_packages(names: str | Iterable[str]) -> list[str]:
    """Return the names of packages, if each can be trusted.

    Arguments:
        names: The names in a list, or separated by commas.

    Raises:
        UserError: As `trusted_packages`.
    """
    names = names.split(",") if isinstance(names, str) else names
    names = list(dict.fromkeys(name.strip() for name in names))
    for name in names:
        parts = name.split(".")
        if not PACKAGE.fullmatch(name) or any(map(keyword.iskeyword, parts)):
            raise UserError(
                f"trust={name}: give the name of a package as in `import mypackage`, or several "
                "names separated by commas"
            )
        if not can_be_trusted(name):
            raise UserError(
                f"trust={name}: opening a run could then start any program, because {parts[0]} has "
                "functions that do: give the name of your own package"
            )
    return names


def can_be_trusted(name: str) -> bool:
    """True unless the dotted name belongs to the standard library or to LIBRARIES."""
    root = name.partition(".")[0]
    return root not in LIBRARIES and root not in sys.stdlib_module_names


def extend_import_path() -> None:
    """Let trusted packages be imported from the folder that contains the own options.

    It comes last, so that no installed package is replaced.
    """
    folder = find_own_conf()
    if folder and trusted_packages() and str(folder.parent) not in sys.path:
        sys.path.append(str(folder.parent))


def project_flags() -> str:
    """Return the flags that a command needs to find the own options and packages of this one.

    Options in ./conf need no flag. The result starts with a space unless it is empty.
    """
    folder, packages = os.environ.get(CONF_VARIABLE), os.environ.get(TRUST_VARIABLE)
    flags = ["--trust", packages] if packages else []
    if folder and Path(folder) != Path("conf").resolve():
        flags += ["--config-dir", folder]
    return f" {shlex.join(flags)}" if flags else ""


def format_resume_command(folder: Path) -> str:
    """Return the command that resumes the run in a folder."""
    return f"{train_command()} {quote_for_shell(f'resume={folder}')}{project_flags()}"
