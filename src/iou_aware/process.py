"""How a stage's process uses its time: what the interpreter and the C library do at their defaults that costs seconds.

Neither changes a number.
"""

import contextlib
import ctypes
import gc
from collections.abc import Iterator

# glibc's parameters of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30
_LARGEST_ON_HEAP_BYTES = 32 << 20  # glibc accepts no more


def keep_freed_memory() -> None:
    """Keep memory that was freed for the next who asks; elsewhere than with glibc, nothing happens.

    A training step frees all its tensors. By default they go back to the system, which hands them out again page by
    page, each filled with zeros: an eighth of the miniature's training.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP_BYTES)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import modules within: no search for garbage, of which there is none, neither during it nor in them later.

    Such a search looks at all objects there are, and those of thousands of modules take a sixth of the import's time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
