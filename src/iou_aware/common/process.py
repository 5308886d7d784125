"""Settings of a stage's process: memory, caches, signals, garbage collection. None of them changes a result."""

import atexit
import contextlib
import ctypes
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# glibc's parameters of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30
_LARGEST_ON_HEAP_BYTES = 32 << 20  # glibc accepts no more
_PR_SET_PDEATHSIG = 1  # of prctl(2)


def keep_freed_memory() -> None:
    """Keep freed memory in the process instead of returning it to the system. Does nothing without glibc.

    A training step frees all its tensors. By default they go back to the system, which hands them out again page by
    page, each filled with zeros: an eighth of the miniature's training.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP_BYTES)


def cache_where_there_is_room() -> None:
    """Give Numba and Matplotlib a temporary folder to cache in where the home folder is read-only.

    Numba, on which MMDetection depends, fails at import where the environment is read-only as well.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError:
        folder = tempfile.TemporaryDirectory(prefix="iou-aware-")
        atexit.register(folder.cleanup)
        for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
            os.environ.setdefault(name, folder.name)


def end_on_sigterm() -> None:
    """Make SIGTERM end this process as an error does, which removes its temporary files.

    It also unblocks the signal, which a process inherits blocked if its parent had it blocked.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def end_with_parent() -> None:
    """Make the kernel kill this process when its parent ends; does nothing on other systems than Linux.

    What a parent holds for its children, such as GPUs, is free for others when it ends.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "prctl"):
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def without_garbage_search() -> Iterator[None]:
    """Suspend garbage collection, for code that creates many objects of which none is garbage."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()
