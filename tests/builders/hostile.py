"""A file of weights that would run something if it were unpickled."""

import io
import os
from pathlib import Path

import torch


class Hostile:
    """Something that would make a folder if it were unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def packed(content, zipped: bool = True) -> bytes:
    """Return what ``torch.save`` writes, in its old format unless ``zipped``."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()
