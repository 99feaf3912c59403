"""One owner: only one process writes to a run folder, or to the folder of a multirun.

The owner is known before the first byte is written, so that a second command leaves the files of
the first unchanged. The lock is therefore a file beside the folder. The system releases it when the
process ends, however it ends: a lock file that is left over blocks nobody.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from itertools import count
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vaelab.runs.paths import MULTIRUN_RECORD
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import locked
from vaelab.runtime.slurm import is_worker_rank

# Hydra creates the callback that locks the folder of a command, so the command has no other way to
# keep the lock until its end. A folder that this process owns is not locked a second time.
_owned: ContextVar[frozenset[Path]] = ContextVar("owned", default=frozenset())
_command: ContextVar[ExitStack | None] = ContextVar("command", default=None)


class FolderInUseError(UserError):
    """Another process owns the folder."""


def get_lock_path(folder: Path) -> Path:
    """Return the lock file of a folder, which is beside it."""
    path = folder.resolve()
    digest = sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:8]
    return path.parent / f".{path.name[:40]}.{digest}.lock"


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own a folder until the end of the context or of the process.

    Of several processes of one run, the first one owns the folder.

    Raises:
        FolderInUseError: If another process owns it.
    """
    path = folder.resolve()
    if path in _owned.get() or is_worker_rank():
        yield
        return
    is_new_parent = not path.parent.exists()
    with ExitStack() as stack:
        if is_new_parent:
            stack.callback(_remove_if_empty, path.parent)
        if not stack.enter_context(locked(get_lock_path(path))):
            raise FolderInUseError(
                f"{folder} is being trained by another process: wait for it, or stop it"
            )
        token = _owned.set(_owned.get() | {path})
        try:
            yield
        finally:
            _owned.reset(token)


@contextmanager
def owned_run(folder: Path) -> Iterator[None]:
    """Own the folder of a run that is started by itself, which may be a job of a multirun.

    Raises:
        FolderInUseError: If another process owns it, or its multirun.
    """
    with owned(folder):
        multirun = folder.resolve().parent
        if (multirun / MULTIRUN_RECORD).is_file() and _is_owned_elsewhere(multirun):
            raise FolderInUseError(
                f"{folder} is a job of a multirun that is running: wait for {multirun}, or stop it"
            )
        yield


@contextmanager
def owned_multirun(folder: Path) -> Iterator[None]:
    """Own the folder of a multirun, in which no job is trained by itself.

    Raises:
        FolderInUseError: If another process owns it, or one of its jobs.
    """
    with owned(folder):
        jobs = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        for job in sorted(jobs):
            if _is_owned_elsewhere(job):
                raise FolderInUseError(
                    f"job {job.name} of {folder} is being trained by another process: wait for "
                    "it, or stop it"
                )
        yield


@contextmanager
def owned_new_folder(path: Path) -> Iterator[Path]:
    """Own the first of the folders path, path_2, path_3, ... that does not exist.

    Commands that start in the same second get different folders.
    """
    for number in count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}_{number}")
        if folder.resolve() in _owned.get():
            continue
        with ExitStack() as stack:
            try:
                stack.enter_context(owned(folder))
            except FolderInUseError:
                continue
            if folder.exists():
                continue
            yield folder
            return


@contextmanager
def command_locks() -> Iterator[None]:
    """Release at the end the locks that a callback of Hydra has added inside."""
    with ExitStack() as stack:
        token = _command.set(stack)
        try:
            yield
        finally:
            _command.reset(token)


def get_command_locks() -> ExitStack:
    """Return the locks that are held until the end of the command."""
    stack = _command.get()
    if stack is None:  # a program with its own hydra.main: until the end of the process
        stack = ExitStack()
        _command.set(stack)
    return stack


def has_default_name(node: DictConfig) -> bool:
    """True if the folder `dir` of hydra.run or hydra.sweep is named after the time."""
    return "${now:" in str(OmegaConf.to_container(node, resolve=False)["dir"])  # type: ignore[index,call-overload]


def _is_owned_elsewhere(folder: Path) -> bool:
    """True if another process owns the folder."""
    path = get_lock_path(folder)
    if folder.resolve() in _owned.get() or not path.exists():
        return False
    with locked(path) as is_free:
        return not is_free


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # it is not empty
        folder.rmdir()
