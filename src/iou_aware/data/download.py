"""Downloading a large file over HTTP so that an interruption costs what was in flight and no more."""

import hashlib
import http.client
import logging
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from iou_aware.common.errors import MachineError
from iou_aware.common.files import FULL

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_LIMIT_UNKNOWN = 4 << 30  # bytes taken from a server that does not say how much it will send
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_PAUSE = 600.0  # seconds that a server may ask to be left alone for


@dataclass(frozen=True)
class Checksum:
    """A checksum as its publisher states it: ``md5`` or ``sha256``, and its hexadecimal digits."""

    kind: str
    digits: str

    def of(self, path: Path) -> str:
        """Return the checksum of this kind of a file."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.kind).hexdigest()


@dataclass(frozen=True)
class Patience:
    """How long to keep trying one address.

    Attributes:
        tries: Attempts in a row that may bring nothing new.
        pause: Seconds before the second attempt; doubled for each further one.
        timeout: Seconds without a byte after which an attempt has failed.
    """

    tries: int = 6
    pause: float = 2.0
    timeout: float = 60.0


class _Failed(Exception):
    """An address does not give the file; the next one may."""


class _Interrupted(Exception):
    """An attempt broke off; another may continue, after so many seconds if the server has asked for them."""

    def __init__(self, message: str, pause: float = 0.0):
        super().__init__(message)
        self.pause = min(pause, _LONGEST_PAUSE)


def download(
    urls: Sequence[str],
    target: Path,
    checksum: Checksum | None = None,
    size: int | None = None,
    patience: Patience | None = None,
) -> None:
    """Download a file, unless it is there already; it appears under its name only once it is complete and verified.

    What arrived stays beside it, ending in ``.part``, and a later attempt or call continues there, provided that a
    checksum can tell afterwards whether the parts belong together and the server honours the request for the rest. A
    disk that is too small is noticed before anything is written, or when it fills up.

    Args:
        urls: Where the file is, tried in order.
        target: Where to store it.
        checksum: What it must have.
        size: How many bytes it must have.
        patience: How long to keep trying.

    Raises:
        MachineError: No address gave the file, or the disk is too small. The message says what each address answered.
    """
    if target.is_file():
        found = _mismatch(target, checksum)
        if not found:
            return
        log.warning("%s: %s is %s, expected %s; fetching it anew", target, checksum.kind, found, checksum.digits)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    if checksum is None:
        part.unlink(missing_ok=True)
    answers = []
    for url in urls:
        try:
            _from(url, part, checksum, size, patience or Patience())
            part.replace(target)
            return
        except _Failed as failure:
            log.warning("%s: %s", url, failure)
            answers.append(f"{url}: {failure}")
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise _disk_full(part, checksum, error) from error
    raise MachineError(
        f"{target.name} could not be fetched. " + "; ".join(answers) + ". Try again later, or download it by hand to "
        f"{target}; a dataset's own file may name further mirrors."
    )


def _from(url: str, part: Path, checksum: Checksum | None, size: int | None, patience: Patience) -> None:
    """Complete ``part`` from one address and verify it; parts that do not match are thrown away once."""
    resumed = part.exists()
    _complete(url, part, size, patience)
    found = _mismatch(part, checksum)
    if found and resumed:
        log.warning("%s: what was there before does not belong to it; starting over", part)
        part.unlink()
        _complete(url, part, size, patience)
        found = _mismatch(part, checksum)
    if found:
        part.unlink()
        raise _Failed(f"{checksum.kind} is {found}, expected {checksum.digits}: not the file that was published")


def _mismatch(part: Path, checksum: Checksum | None) -> str | None:
    """Return the checksum found when it is a wrong one."""
    if checksum is None:
        return None
    log.info("%s: verifying", part.name)
    found = checksum.of(part)
    return found if found != checksum.digits else None


def _complete(url: str, part: Path, size: int | None, patience: Patience) -> None:
    """Call `_attempt` until the file is complete, waiting longer after each attempt that brought nothing."""
    fruitless, most = 0, _size(part)
    while True:
        try:
            _attempt(url, part, size, patience.timeout)
            return
        except _Interrupted as interruption:
            now = _size(part)
            fruitless = 0 if now > most else fruitless + 1
            most = max(most, now)
            if fruitless >= patience.tries:
                raise _Failed(
                    f"{interruption}; given up after {fruitless} attempts in a row without progress"
                ) from None
            pause = max(patience.pause * 2 ** max(0, fruitless - 1), interruption.pause)
            log.warning("%s: %s after %d bytes; trying again in %.0f s", url, interruption, now, pause)
            time.sleep(pause)


def _attempt(url: str, part: Path, size: int | None, timeout: float) -> None:
    """Ask for what is missing and append it.

    Raises:
        _Interrupted: It broke off, or the server has a passing trouble.
        _Failed: The server has no such file, or one of another size.
    """
    offset = _size(part)
    headers = {"User-Agent": "iou-aware", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        with _answer(urllib.request.Request(url, headers=headers), timeout) as response:
            start, total = _extent(response)
            if start not in (0, offset):
                part.unlink()
                raise _Interrupted(f"the server sent bytes from {start} on, asked for {offset}")
            if offset and start == 0:
                log.warning("%s: the server does not continue downloads; starting over", url)
            _require_size(size, total)
            _require_space(part, (total or 0) - start)
            _append(response, part, start, total)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range", "").endswith(f"/{offset}"):
                return
            part.unlink()
            raise _Interrupted("the server has less than what was fetched before") from error
        if str(error.reason).startswith(urllib.request.HTTPRedirectHandler.inf_msg):
            raise _Failed(f"it redirects in circles, at last to {error.headers['Location']}") from error
        if error.code not in _RETRIED:
            raise _Failed(f"HTTP {error.code} {error.reason}") from error
        asked = error.headers.get("Retry-After", "")  # in seconds; a date is not waited for
        raise _Interrupted(f"HTTP {error.code} {error.reason}", float(asked) if asked.isdecimal() else 0.0) from error
    except http.client.HTTPException as error:
        raise _Interrupted(f"{type(error).__name__}: {error}") from error


def _answer(request: urllib.request.Request, timeout: float) -> Any:
    """Return the server's response, as a context.

    Raises:
        _Interrupted: The network is at fault.
        urllib.error.HTTPError: The server answers with an error.
    """
    try:
        return urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError:
        raise
    except OSError as error:
        raise _Interrupted(f"{type(error).__name__}: {error}") from error


def _extent(response: Any) -> tuple[int, int | None]:
    """Return the first byte that a response holds and the size of the whole file, None where it is not said."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not found:
            return -1, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None


def _append(response: Any, part: Path, start: int, total: int | None) -> None:
    """Write a response's bytes from ``start`` on, what lay there before being replaced."""
    done = start
    with part.open("r+b" if part.exists() else "wb") as file:
        file.truncate(start)
        file.seek(start)
        label = part.name.removesuffix(".part")
        with tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=label, mininterval=1) as bar:
            while chunk := _read(response):
                done += len(chunk)
                if done > (total or _LIMIT_UNKNOWN):
                    raise _Failed(f"the server sends more than {total or _LIMIT_UNKNOWN} bytes")
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and done < total:
        raise _Interrupted(f"the connection was cut at byte {done} of {total}")


def _read(response: Any) -> bytes:
    """Return the next bytes of a response, none at its end.

    Raises:
        _Interrupted: The network is at fault, in one of many ways: no answer, no route any more, a record of TLS that
            is damaged. What is raised for it cannot be told from a fault of the disk later.
    """
    try:
        return response.read(_CHUNK)
    except OSError as error:
        raise _Interrupted(f"{type(error).__name__}: {error}") from error


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _require_size(size: int | None, total: int | None) -> None:
    if size is not None and total is not None and size != total:
        raise _Failed(f"the server's file has {total} bytes, expected {size}")


def _disk_full(part: Path, checksum: Checksum | None, error: OSError) -> MachineError:
    """Return what to say of a disk that filled up meanwhile; what cannot be continued makes room."""
    there, further = _size(part), "it continues"
    if checksum is None:
        part.unlink(missing_ok=True)
        further = "it starts over, for want of a checksum"
    free = shutil.disk_usage(part.parent).free
    return MachineError(
        f"{part}: {FULL[error.errno]}: {there} bytes had arrived, {free} are free now. Make room, then run the same "
        f"command: {further}."
    )


def _require_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise MachineError(
            f"{part.parent}: {needed / 1e9:.1f} GB are still to be downloaded, but only {free / 1e9:.1f} GB are free. "
            "Make room, or choose another folder for the dataset."
        )
