"""Extracting archives that were fetched from the network, trusting nothing they say.

Only plain files and folders are taken. A name that leads out of the folder, a link, a device or a promise of far more
bytes than the archive could hold stops the extraction before anything is written. Checksums normally rule all of this
out; an archive without one, or a wrong mirror, is why it is here.
"""

import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from iou_aware.common.errors import InputError
from iou_aware.common.files import FULL
from iou_aware.data.download import require_space

MOST_MEMBERS = 2_000_000
RATIO = 20  # photographs hardly compress and annotations about fivefold; bombs a thousandfold
ALWAYS_ALLOWED = 64 << 20  # bytes, so that small archives of text are not suspected
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)


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
        with _opened(archive) as opened:
            members = _chosen(_checked(opened, archive), archive, select)
            needed = sum(size for _, size in members)
            folder.mkdir(parents=True, exist_ok=True)
            require_space(folder, needed, "to be extracted")
            for member, _ in tqdm(members, unit="file", desc=f"extract {archive.name}", mininterval=1):
                if isinstance(member, tarfile.TarInfo):
                    opened.extract(member, folder, filter="data")
                else:
                    opened.extract(member, folder)
            return len(members)
    except _DAMAGE as error:
        raise InputError(
            f"{archive}: the archive is truncated or damaged ({error}). Delete it and fetch again."
        ) from error
    except OSError as error:
        if error.errno in FULL:
            raise InputError(
                f"{folder}: {FULL[error.errno]}: {archive.name} needs {needed} bytes there, "
                f"{shutil.disk_usage(folder).free} are free now. Make room, then run the same command again: it "
                "extracts this archive anew."
            ) from error
        raise


def _opened(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    if tarfile.is_tarfile(archive):
        return tarfile.open(archive)
    raise InputError(f"{archive}: is no zip or tar archive, or is truncated. Delete it and fetch again.")


def _checked(
    opened: zipfile.ZipFile | tarfile.TarFile, archive: Path
) -> list[tuple[zipfile.ZipInfo | tarfile.TarInfo, str, int]]:
    """Return an archive's files with name and size: their names stay inside and their sizes are believable."""
    allowed = max(ALWAYS_ALLOWED, RATIO * archive.stat().st_size)
    files, total = [], 0
    for member in opened if isinstance(opened, tarfile.TarFile) else opened.infolist():
        if isinstance(member, tarfile.TarInfo):
            name, size, plain, folder, encrypted = member.name, member.size, member.isfile(), member.isdir(), 0
        else:
            kind = stat.S_IFMT(member.external_attr >> 16)
            name, size, folder, encrypted = member.filename, member.file_size, member.is_dir(), member.flag_bits & 1
            plain = kind in (0, stat.S_IFREG)
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise _unsafe(archive, name, "outside of the archive's own folder")
        if encrypted or not (plain or folder):
            raise _unsafe(archive, name, "encrypted" if encrypted else "a link or a device")
        if not folder:
            files.append((member, name, size))
        total += size
        if total > allowed or len(files) > MOST_MEMBERS:
            raise InputError(
                f"{archive}: the archive of {archive.stat().st_size} bytes unpacks to more than {allowed} bytes or "
                f"{MOST_MEMBERS} files: it would fill the disk. Delete it; fetch it from its publisher."
            )
    return files


def _unsafe(archive: Path, name: str, what: str) -> InputError:
    return InputError(
        f"{archive}: the member {name!r} is {what}. No dataset needs that, and it may do harm: nothing was extracted. "
        "Delete the archive; fetch it from its publisher."
    )


def _chosen(
    files: list[tuple[zipfile.ZipInfo | tarfile.TarInfo, str, int]], archive: Path, select: str | None
) -> list[tuple[zipfile.ZipInfo | tarfile.TarInfo, int]]:
    """Return the files below ``select``, named from there, with their sizes."""
    base, chosen = PurePosixPath(select or "."), []
    for member, name, size in files:
        if PurePosixPath(name).is_relative_to(base):
            below = PurePosixPath(name).relative_to(base).as_posix()
            setattr(member, "name" if isinstance(member, tarfile.TarInfo) else "filename", below)
            chosen.append((member, size))
    if not chosen:
        tops = sorted({PurePosixPath(name).parts[0] for _, name, _ in files})
        raise InputError(f"{archive}: holds nothing below {str(base)!r}, only {tops}. Correct `select` in the dataset.")
    return chosen
