"""What a stage's process is told about memory."""

import gc
import os
from importlib import import_module

import pytest
from builders.processes import python

from iou_aware.common import process

FAULTS = """
import resource
import numpy as np
from iou_aware.common import process

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [np.ones(1 << 20) for _ in range(16)]  # 128 MiB, or 32,768 pages, all of it freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(), faults()  # glibc learns from what is freed
before = faults()
process.keep_freed_memory()
faults()
print(before, faults())
"""


def test_freed_memory_is_used_again_without_the_systems_help():
    done = python("-c", FAULTS, check=True)
    before, after = (int(count) for count in done.stdout.split())
    assert after < 1000 < before


def test_garbage_is_searched_for_again_after_importing_even_when_that_fails():
    with pytest.raises(ImportError), process.without_garbage_search():
        assert not gc.isenabled()
        import_module("iou_aware.nothing")
    assert gc.isenabled()


@pytest.mark.parametrize("kept", [False, True])
def test_a_home_and_an_environment_that_cannot_be_written_stop_nothing(kept):
    """Numba ends at import where it can cache nowhere; MMDetection imports what is compiled so."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "NUMBA_", "MPL"))}
    environment |= {"HOME": "/proc", "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator,UserWideCacheLocator"}
    lines = ["from iou_aware.common import process", "process.cache_where_there_is_room()"] * kept
    lines += ["import imgaug, matplotlib.pyplot, os", "print(os.environ.get('NUMBA_CACHE_DIR'))"]
    done = python("-c", "\n".join(lines), env=environment)
    assert (done.returncode == 0) is kept, done.stderr
    assert ("no locator available" in done.stderr) is not kept
    assert "Matplotlib created a temporary" not in done.stderr
    assert not kept or not os.path.exists(done.stdout.strip())
