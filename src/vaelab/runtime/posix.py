"""What not every system has: signals and processes of POSIX, and the memory allocator of glibc.

No other module uses them, so that everything else works on Windows.
"""

import ctypes
import os
import signal

USER_SIGNALS: tuple[int, ...] = tuple(  # SIGUSR1 and SIGUSR2; none on Windows
    getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)


def is_process_running(process: int) -> bool:
    """True if a process with this id runs on this machine; always True on Windows.

    There, os.kill(process, 0) would send Ctrl-C to the process.
    """
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def count_usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Make malloc keep up to 1 GiB of freed memory instead of returning it to the system.

    Getting it back page by page can take as long as the computation in between.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:  # glibc has it; the numbers are from its malloc.h
        mallopt(-1, 2**30)  # M_TRIM_THRESHOLD
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, at its maximum
