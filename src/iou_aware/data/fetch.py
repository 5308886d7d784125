"""The command `fetch`: download a dataset's archives, verify and extract them; the dataset appears complete or not."""

import errno
import hashlib
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from iou_aware.common.files import sha256
from iou_aware.common.messages import InputError, MachineError, log
from iou_aware.data.archive import extract
from iou_aware.data.dataset import load, require_own_folder
from iou_aware.data.download import download


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
