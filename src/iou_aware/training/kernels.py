"""The GPUs that mmcv's prebuilt CUDA ops run on. Imports nothing: `make setup` uses it before anything is installed."""

from collections.abc import Iterable

#: The compute capabilities that the CUDA 12.9 wheels of onedl-mmcv 2.3.6 are compiled for (its publish.yml), without
#: PTX, from which a driver could compile for another.
MMCV_WHEEL = ("7.5", "8.6", "8.9", "9.0", "12.0")


def run_on(gpu: str, compiled: Iterable[str] = MMCV_WHEEL) -> bool:
    """Return whether a GPU of a compute capability, such as ``8.0``, runs code compiled for others.

    It runs what is compiled for its own major version and for no later minor one (CUDA C++ Programming Guide, Binary
    Compatibility).
    """
    major, minor = gpu.split(".")
    return any(
        major == other_major and int(minor) >= int(other_minor)
        for other_major, other_minor in (capability.split(".") for capability in compiled)
    )
