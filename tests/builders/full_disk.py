"""A disk that fills up: what still fits is written, and the rest refused as the operating system refuses it."""

import builtins
import errno
import io
import os
import tarfile
from typing import Any

import pytest


class Disk:
    """Room for so many more bytes, in all files together that are opened for writing by their paths."""

    def __init__(self, room: int, fault: int):
        self.room, self.fault = room, fault


class _File:
    """A file on the disk."""

    def __init__(self, file: Any, disk: Disk):
        self._file, self._disk = file, disk

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *fault: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        fitting = content[: self._disk.room]
        self._disk.room -= len(fitting)
        self._file.write(fitting)
        if len(fitting) < len(content):
            raise OSError(self._disk.fault, os.strerror(self._disk.fault))
        return len(content)


def mount(patch: pytest.MonkeyPatch, room: int, fault: int = errno.ENOSPC) -> Disk:
    """Let every file that is written from now on lie on a disk with so much room, in bytes; return it."""
    disk, opened = Disk(room, fault), open

    def on_disk(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        file = opened(path, mode, *args, **options)
        return _File(file, disk) if mode in ("wb", "r+b") else file

    for module, name in ((io, "open"), (builtins, "open"), (tarfile, "bltn_open")):
        patch.setattr(module, name, on_disk)
    return disk
