"""Atomic writes and file locks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

    Yields True as well on systems and disks without such locks.
    """
    if os.name != "posix":
        yield True
        return
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = True
        except (BlockingIOError, PermissionError):  # POSIX allows either
            is_free = False
        except OSError:
            is_free = True
        yield is_free
