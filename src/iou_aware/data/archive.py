"""Extracting archives that were fetched from the network, trusting nothing they say.

Only plain files and folders are taken, written by this code with its own permissions. A name that leads out of the
folder, a link, a device or a promise of far more bytes than the archive could hold stops the extraction before anything
is written. Checksums normally rule all of this out; an archive without one, or a wrong mirror, is why it is here.
"""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from iou_aware.common.errors import InputError
from iou_aware.common.files import FULL

MOST_MEMBERS = 2_000_000
RATIO = 20  # photographs hardly compress and annotations about fivefold; bombs a thousandfold
ALWAYS_ALLOWED = 64 << 20  # bytes, so that small archives of text are not suspected
_CHUNK = 1 << 20
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)


@dataclass(frozen=True)
class _Member:
    """A file in an archive: its name, its size in bytes as declared, and how to open it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def extract(archive: Path, folder: Path, select: str | None = None) -> int:
    """Extract a zip or tar archive; which of them it is, its content decides.

    Args:
        archive: The archive.
        folder: Where to put its files; made if missing.
        select: The folder inside the archive whose content is taken; by default everything.

    Returns:
        How many files were written.

    Raises:
        InputError: The archive is damaged, holds something unsafe, lacks ``select``, or the disk is too small.
    """
    needed = 0
    try:
        with _opened(archive) as listing:
            members = _chosen(_checked(listing, archive), archive, select)
            needed = sum(member.size for _, member in members)
            _require_space(folder, needed)
            _write(members, folder, archive)
            return len(members)
    except _DAMAGE as error:
        raise InputError(
            f"{archive}: the archive is truncated or damaged ({error}). Delete it and fetch again."
        ) from error
    except OSError as error:
        if error.errno in FULL:
            free = shutil.disk_usage(folder).free
            raise InputError(
                f"{folder}: {FULL[error.errno]}: {archive.name} needs {needed} bytes there, {free} are free now. Make "
                "room, then run the same command again: it extracts this archive anew."
            ) from error
        raise


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened, archive)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            yield _tar_members(opened, archive)
    else:
        raise InputError(f"{archive}: is no zip or tar archive, or is truncated. Delete it and fetch again.")


def _zip_members(opened: zipfile.ZipFile, archive: Path) -> Iterator[_Member]:
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(archive, info.filename, "a link or a device")
        if info.flag_bits & 1:
            raise _unsafe(archive, info.filename, "encrypted")
        if not info.is_dir():
            yield _Member(info.filename, info.file_size, lambda info=info: opened.open(info))


def _tar_members(opened: tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    for info in opened:
        if info.isfile():
            yield _Member(info.name, info.size, lambda info=info: opened.extractfile(info))
        elif not info.isdir():
            raise _unsafe(archive, info.name, "a link or a device")


def _checked(members: Iterator[_Member], archive: Path) -> Iterator[_Member]:
    """Pass members on while their names stay inside and their sizes stay believable."""
    allowed = max(ALWAYS_ALLOWED, RATIO * archive.stat().st_size)
    total = 0
    for number, member in enumerate(members, start=1):
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
            raise _unsafe(archive, member.name, "outside of the archive's own folder")
        total += member.size
        if total > allowed or number > MOST_MEMBERS:
            raise InputError(
                f"{archive}: the archive of {archive.stat().st_size} bytes unpacks to more than {allowed} bytes or "
                f"{MOST_MEMBERS} files: it would fill the disk. Delete it; fetch it from its publisher."
            )
        yield member


def _unsafe(archive: Path, name: str, what: str) -> InputError:
    return InputError(
        f"{archive}: the member {name!r} is {what}. No dataset needs that, and it may do harm: nothing was extracted. "
        "Delete the archive; fetch it from its publisher."
    )


def _chosen(members: Iterator[_Member], archive: Path, select: str | None) -> list[tuple[PurePosixPath, _Member]]:
    """Return the members below ``select`` with their paths from there; all are checked before any is returned."""
    everything = [(PurePosixPath(member.name), member) for member in members]
    base = PurePosixPath(select or ".")
    chosen = [(path.relative_to(base), member) for path, member in everything if path.is_relative_to(base)]
    if not chosen:
        tops = sorted({path.parts[0] for path, _ in everything})
        raise InputError(f"{archive}: holds nothing below {str(base)!r}, only {tops}. Correct `select` in the dataset.")
    return chosen


def _write(members: list[tuple[PurePosixPath, _Member]], folder: Path, archive: Path) -> None:
    total = sum(member.size for _, member in members)
    with tqdm(total=total, unit="B", unit_scale=True, desc=f"extract {archive.name}", mininterval=1) as bar:
        for path, member in members:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            left = member.size
            with member.open() as source, target.open("wb") as file:
                while left and (chunk := source.read(min(_CHUNK, left))):
                    file.write(chunk)
                    left -= len(chunk)
                    bar.update(len(chunk))
                if left or source.read(1):
                    raise tarfile.ReadError(f"{member.name!r} has not the {member.size} bytes it declares")


def _require_space(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: {needed / 1e9:.1f} GB are to be extracted, but only {free / 1e9:.1f} GB are free. Make room, "
            "or choose another folder for the dataset."
        )
