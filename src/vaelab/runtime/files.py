"""Files that are whole or not there, and folders that one process has to itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place at the end; nothing after an error.

    Whoever reads `path`, also after a kill, finds the old file or the new one.
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
    """Whether nobody else holds the file, which is then this process's until the end or its death.

    Everybody gets it where the system or the disk knows no such locks.
    """
    if os.name != "posix":
        yield True
        return
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except (BlockingIOError, PermissionError):  # as POSIX has it, one or the other
            free = False
        except OSError:
            free = True
        yield free
