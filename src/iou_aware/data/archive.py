"""Extracting archives that were fetched from the network, trusting nothing they say.

Only plain files and folders are taken. A name that leads out of the folder, a link, a device or a promise of far more
bytes than the archive could hold stops the extraction before anything is written. Checksums normally rule all of this
out; an archive without one, or a wrong mirror, is why it is here.
"""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from iou_aware.common.messages import InputError
from iou_aware.data.download import require_space

RATIO = 20  # photographs hardly compress and annotations about fivefold; bombs a thousandfold
ALWAYS_ALLOWED = 64 << 20  # bytes, so that small archives of text are not suspected
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)
_Archive = zipfile.ZipFile | tarfile.TarFile
_Member = zipfile.ZipInfo | tarfile.TarInfo


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
    try:
        with _opened(archive) as opened:
            opened.extraction_filter = tarfile.data_filter  # zip files need none
            members = _chosen(opened, archive, PurePosixPath(select or "."))
            folder.mkdir(parents=True, exist_ok=True)
            require_space(folder, sum(size for _, size in members), "to be extracted")
            for member, _ in tqdm(members, unit="file", desc=f"extract {archive.name}", mininterval=1):
                opened.extract(member, folder)
            return len(members)
    except _DAMAGE as error:
        raise InputError(
            f"{archive}: the archive is truncated or damaged ({error}). Delete it and fetch again."
        ) from error


def _opened(archive: Path) -> _Archive:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    if tarfile.is_tarfile(archive):
        return tarfile.open(archive)
    raise InputError(f"{archive}: is no zip or tar archive, or is truncated. Delete it and fetch again.")


def _files(opened: _Archive) -> Iterator[tuple[_Member, str, int, bool]]:
    """Yield an archive's files with name, size and whether they are plain: no link, no device, not encrypted."""
    if isinstance(opened, tarfile.TarFile):
        yield from ((member, member.name, member.size, member.isfile()) for member in opened if not member.isdir())
        return
    for member in opened.infolist():
        if not member.is_dir():
            plain = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG) and not member.flag_bits & 1
            yield member, member.filename, member.file_size, plain


def _chosen(opened: _Archive, archive: Path, base: PurePosixPath) -> list[tuple[_Member, int]]:
    """Return the files below ``base``, named from there, with their sizes, if all of the archive's are safe."""
    allowed = max(ALWAYS_ALLOWED, RATIO * archive.stat().st_size)
    chosen, tops, total = [], set(), 0
    for member, name, size, plain in _files(opened):
        path, wrong = PurePosixPath(name), None
        total += size
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            wrong = f"the member {name!r} leads out of its folder"
        elif not plain:
            wrong = f"the member {name!r} is a link, a device or encrypted"
        elif total > allowed:
            wrong = f"its {archive.stat().st_size} bytes unpack to more than {allowed} bytes"
        if wrong:
            raise InputError(
                f"{archive}: {wrong}. No dataset needs that, and it may do harm: nothing was extracted. Delete the "
                "archive; fetch it from its publisher."
            )
        tops.add(path.parts[0])
        if path.is_relative_to(base):
            setattr(member, "name" if isinstance(member, tarfile.TarInfo) else "filename", str(path.relative_to(base)))
            chosen.append((member, size))
    if not chosen:
        raise InputError(
            f"{archive}: holds nothing below {str(base)!r}, only {sorted(tops)}. Correct `select` in the dataset."
        )
    return chosen
