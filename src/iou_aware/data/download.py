"""Downloading a large file over HTTP so that an interruption costs what was in flight and no more."""

import hashlib
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import requests
import tenacity
import urllib3
from tqdm import tqdm

from iou_aware.common.errors import MachineError
from iou_aware.common.files import FULL

log = logging.getLogger(__name__)

TRIES = 6  # attempts in a row that may bring nothing new
PAUSE = 2.0  # seconds before the second of them; doubled for each further one
_TIMEOUT = 60.0  # seconds without a byte after which an attempt has failed
_LONGEST_PAUSE = 600.0  # seconds that a server may ask to be left alone for
_CHUNK = 1 << 20
_LIMIT_UNKNOWN = 4 << 30  # bytes taken from a server that does not say how much it will send
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_BROKEN_OFF = (requests.ConnectionError, requests.Timeout)


def download(urls: Sequence[str], target: Path, checksum: str | None = None, size: int | None = None) -> None:
    """Download a file, unless it is there already; it appears under its name only once it is complete and verified.

    What arrived stays beside it, ending in ``.part``, and a later attempt or call continues there, provided that a
    checksum can tell afterwards whether the parts belong together and the server honours the request for the rest. A
    disk that is too small is noticed before anything is written, or when it fills up.

    Args:
        urls: Where the file is, tried in order.
        target: Where to store it.
        checksum: What it must have: ``md5:DIGITS`` or ``sha256:DIGITS``, of which the first few digits are enough.
        size: How many bytes it must have.

    Raises:
        MachineError: No address gave the file, or the disk is too small. The message says what each address answered.
    """
    if target.is_file():
        found = _mismatch(target, checksum)
        if not found:
            return
        log.warning("%s: %s; fetching it anew", target, found)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    if checksum is None:
        part.unlink(missing_ok=True)
    answers = []
    for url in urls:
        try:
            _complete(url, part, checksum, size)
            part.replace(target)
            return
        except requests.RequestException as failure:
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


def _complete(url: str, part: Path, checksum: str | None, size: int | None) -> None:
    """Complete ``part`` from one address and verify it; parts that do not match are thrown away once.

    Raises:
        requests.RequestException: The address does not give the file.
    """
    resumed = part.exists()
    most = _size(part)

    def attempt() -> bool:
        """Return whether the file is complete; raise if nothing new has arrived."""
        nonlocal most
        try:
            _request(url, part, size)
            return True
        except (*_BROKEN_OFF, requests.HTTPError):
            before, most = most, max(most, _size(part))
            if most == before:
                raise
            return False

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_passing),
        stop=tenacity.stop_after_attempt(TRIES),
        wait=_pause,
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    while not retrying(attempt):
        pass
    found = _mismatch(part, checksum)
    if found:
        part.unlink()
        if not resumed:
            raise requests.RequestException(f"{found}: not the file that was published")
        log.warning("%s: what was there before does not belong to it; starting over", part)
        _complete(url, part, checksum, size)


def _is_passing(fault: BaseException) -> bool:
    status = getattr(getattr(fault, "response", None), "status_code", None)
    return status in _RETRIED if status else isinstance(fault, _BROKEN_OFF)


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait: ever longer, and at least as long as the server asks; a date is not waited for."""
    response = getattr(state.outcome.exception(), "response", None)
    asked = "" if response is None else response.headers.get("Retry-After", "")
    return min(_LONGEST_PAUSE, max(PAUSE * 2 ** (state.attempt_number - 1), float(asked) if asked.isdecimal() else 0))


def _mismatch(part: Path, checksum: str | None) -> str | None:
    """Say which checksum a file has if it is a wrong one."""
    if checksum is None:
        return None
    log.info("%s: verifying", part.name)
    kind, digits = checksum.split(":")
    with part.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()[: len(digits)]
    return None if found == digits else f"{kind} is {found}, expected {digits}"


def _request(url: str, part: Path, size: int | None) -> None:
    """Ask for what is missing and append it.

    Raises:
        requests.ConnectionError: It broke off.
        requests.HTTPError: The server answers with an error.
        requests.RequestException: The server has another file.
    """
    offset = _size(part)
    headers = {"User-Agent": "iou-aware", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            if response.headers.get("Content-Range", "").endswith(f"/{offset}"):
                return
            part.unlink()
            raise requests.ConnectionError("the server has less than what was fetched before")
        response.raise_for_status()
        start, total = _extent(response)
        if start not in (0, offset):
            part.unlink()
            raise requests.ConnectionError(f"the server sent bytes from {start} on, asked for {offset}")
        if offset and start == 0:
            log.warning("%s: the server does not continue downloads; starting over", url)
        if None not in (size, total) and size != total:
            raise requests.RequestException(f"the server's file has {total} bytes, expected {size}")
        require_space(part.parent, (total or 0) - start, "still to be downloaded")
        _append(response, part, start, total)


def _extent(response: requests.Response) -> tuple[int, int | None]:
    """Return the first byte that a response holds and the size of the whole file, None where it is not said."""
    if response.status_code == requests.codes.partial_content:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        return (int(found[1]), None if found[2] == "*" else int(found[2])) if found else (-1, None)
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None


def _append(response: requests.Response, part: Path, start: int, total: int | None) -> None:
    """Write a response's bytes from ``start`` on, what lay there before being replaced."""
    done, limit = start, total or _LIMIT_UNKNOWN
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem, mininterval=1)
    with part.open("r+b" if part.exists() else "wb") as file, bar:
        file.truncate(start)
        file.seek(start)
        while chunk := _read(response):
            done += len(chunk)
            if done > limit:
                raise requests.RequestException(f"the server sends more than {limit} bytes")
            file.write(chunk)
            bar.update(len(chunk))
    if total is not None and done < total:
        raise requests.ConnectionError(f"the connection was cut at byte {done} of {total}")


def _read(response: requests.Response) -> bytes:
    """Return the next bytes of a response, none at its end; a fault of the disk can thus be told from the network's."""
    try:
        return response.raw.read1(_CHUNK)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.ConnectionError(f"{type(error).__name__}: {error}") from error


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _disk_full(part: Path, checksum: str | None, error: OSError) -> MachineError:
    """Return what to say of a disk that filled up meanwhile; what cannot be continued makes room."""
    there, further = _size(part), "it continues"
    if checksum is None:
        part.unlink(missing_ok=True)
        further = "it starts over, for want of a checksum"
    return MachineError(
        f"{part}: {FULL[error.errno]}: {there} bytes had arrived, {shutil.disk_usage(part.parent).free} are free now. "
        f"Make room, then run the same command: {further}."
    )


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise MachineError unless ``needed`` bytes are free in a folder; ``what`` says what is to happen to them."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(
            f"{folder}: {needed / 1e9:.1f} GB are {what}, but only {free / 1e9:.1f} GB are free. Make room, or choose "
            "another folder for the dataset."
        )
