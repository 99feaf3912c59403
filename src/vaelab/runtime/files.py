"""Atomic writes, file locks, and paths in the home folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


def expand_home(path: str | Path) -> Path:
    """Return a path with the home folder in place of `~`, or of `~user` if there is that user."""
    return Path(os.path.expanduser(path))


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces `path` at the end unless an error occurs.

    A reader of `path` finds the old file or the new one, even after a kill.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Lock a file until the end of the context or of the process; yield True if it was free.

    Yields True as well on disks without locks. The file is removed at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        _acquire(lock, path)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError):
        pass
    try:
        yield True
    finally:
        if os.name == "posix" and lock.is_locked:  # elsewhere an open file cannot be removed
            path.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    """Lock the file at a path, not one that its owner has removed after it was opened here.

    A removed file does not come back: if the path leads to the same file before and after, it is
    the locked one.
    """
    while True:
        with path.open("ab") as file:
            with suppress(OSError):  # another user owns it, who has done so
                path.chmod(0o666)  # so that other users of a folder can open it
            lock.acquire(blocking=False)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return
        lock.release()
