"""A disk that fills up: what still fits is written, and the rest refused as the operating system refuses it."""

import errno
import os
from pathlib import Path
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
    disk, opened = Disk(room, fault), Path.open

    def on_disk(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        file = opened(self, mode, *args, **options)
        return _File(file, disk) if mode in ("wb", "r+b") else file

    patch.setattr(Path, "open", on_disk)
    return disk
