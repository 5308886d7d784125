"""The command `fetch`: download a dataset's archives, verify and extract them; the dataset appears complete or not.

Extraction trusts nothing that an archive says: only plain files and folders are taken. A name that leads out of the
folder, a link, a device or a promise of far more bytes than the archive could hold stops it before anything is written.
Checksums normally rule all of this out; an archive without one, or a wrong mirror, is why it is here.
"""

import errno
import hashlib
import shlex
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from iou_aware.common.files import sha256
from iou_aware.common.messages import InputError, MachineError, log
from iou_aware.data.dataset import load, require_own_folder
from iou_aware.data.download import download, require_space

RATIO = 20  # photographs hardly compress and annotations about fivefold; bombs a thousandfold
ALWAYS_ALLOWED = 64 << 20  # bytes, so that small archives of text are not suspected
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)
_Archive = zipfile.ZipFile | tarfile.TarFile
_Member = zipfile.ZipInfo | tarfile.TarInfo


def fetch(name: str, folder: str | Path | None = None, project: Path = Path()) -> Path:
    """Fetch a dataset into its root, unless it is there already.

    Archives and extracted files are collected beside the root, in ``.<root>.download`` and ``.<root>.partial``, where
    an interrupted call is continued by the next; the finished folder is renamed into place.

    Args:
        name: The dataset.
        folder: Where to put it instead of the dataset file's ``root``.
        project: The project's root folder.

    Returns:
        The dataset's root.

    Raises:
        InputError: The dataset names no archives, or a root outside of the project's ``data``; an archive cannot be had
            or is wrong; or the disk is too small.
    """
    dataset = load(project, name, {name: folder} if folder else None)
    root = dataset.root
    if root.is_dir() and any(root.iterdir()):
        log.info("%s: %s is there already", root, name)
        return root
    if not dataset.fetch:
        how = "`iou-aware prepare` makes it" if dataset.generate else "put it there by hand"
        raise InputError(f"{dataset.file}: {name} has no key `fetch` that says where to fetch it from; {how}.")
    if folder is None:
        require_own_folder(dataset, project, f"to put it there nevertheless, add --into {shlex.quote(str(root))}")
    downloads, partial = (root.parent / f".{root.name}.{what}" for what in ("download", "partial"))
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(downloads / ".lock", blocking=False):
            for archive in dataset.fetch["archives"]:
                _fetch_archive(archive, downloads, partial)
            if "content" in dataset.fetch:
                _check_content(partial, dataset.fetch["content"], downloads, dataset.file)
            if root.is_dir():
                root.rmdir()
            partial.rename(root)
            shutil.rmtree(downloads)
    except Timeout as error:
        raise InputError(f"{downloads}: another fetch is at work there. Wait until it is done.") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise MachineError(
            f"{root.parent}: {error.strerror}. Make room, then run the same command again: it goes on."
        ) from error
    log.info("%s: %s is complete", root, name)
    return root


def _fetch_archive(archive: dict[str, Any], downloads: Path, partial: Path) -> None:
    """Download and extract one archive, unless an earlier call did both."""
    file = downloads / archive.get("file", archive["url"].rsplit("/", 1)[-1])
    done = file.with_name(f"{file.name}.extracted")
    if done.exists() and partial.is_dir():
        return
    checksums = [f"{kind}:{archive[kind]}" for kind in ("sha256", "md5") if kind in archive]
    urls = [archive["url"], *archive.get("mirrors", [])]
    download(urls, file, checksums[0] if checksums else None)
    number = extract(file, partial, archive.get("select"))
    log.info("%s: %d files", file.name, number)
    done.touch()


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


def content_digest(folder: Path, patterns: Sequence[str]) -> str:
    """Return the SHA-256 over the lines ``<sha256>  <path>`` of a folder's files, sorted by path.

    Args:
        folder: Where the paths start.
        patterns: Glob patterns of the files that count.
    """
    paths = sorted({path.relative_to(folder).as_posix() for pattern in patterns for path in folder.glob(pattern)})
    lines = "".join(f"{sha256(folder / path)}  {path}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


def _check_content(folder: Path, content: dict[str, Any], downloads: Path, dataset_file: Path) -> None:
    """Compare the extracted files with their checksum; what differs is thrown away, since nothing else verifies it."""
    found = content_digest(folder, content["of"])
    if found != content["sha256"]:
        shutil.rmtree(folder)
        shutil.rmtree(downloads)
        raise InputError(
            f"{folder}: the files differ from those that {dataset_file}, key fetch.content, describes: sha256 {found}, "
            f"expected {content['sha256']}. They were removed. Fetch again; if that does not help, the source has "
            "changed: look at its files, then correct the key."
        )
