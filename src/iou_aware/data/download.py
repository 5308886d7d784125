"""Downloading a large file over HTTP so that an interruption costs what was in flight and no more."""

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import requests
from tqdm import tqdm

from iou_aware.common.messages import MachineError, log

TRIES = 6  # attempts in a row that bring nothing new
PAUSE = 2.0  # seconds before the second of them; doubled for each further one
_TIMEOUT = 60.0  # seconds without a byte after which an attempt has failed
_CHUNK = 1 << 16  # bytes, of which the last ones are lost with a connection
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def download(urls: Sequence[str], target: Path, checksum: str | None = None) -> None:
    """Download a file, unless it is there already; it appears under its name only once it is complete and verified.

    What arrived stays beside it, ending in ``.part``, and a later attempt or call continues there. Whether the parts
    belong together, the checksum says; without one, every attempt starts over.

    Args:
        urls: Where the file is, tried in order.
        target: Where to store it.
        checksum: What it must have: ``md5:DIGITS`` or ``sha256:DIGITS``, of which the first few digits are enough.

    Raises:
        MachineError: No address gave the file, or the disk is too small. The message says what each address answered.
    """
    if target.is_file():
        wrong = _mismatch(target, checksum)
        if not wrong:
            return
        log.warning("%s: %s; fetching it anew", target, wrong)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    answers = []
    for url in urls:
        try:
            _complete(url, part, checksum)
            part.replace(target)
            return
        except requests.RequestException as failure:
            log.warning("%s: %s", url, failure)
            answers.append(f"{url}: {failure}")
    raise MachineError(
        f"{target.name} could not be fetched. " + "; ".join(answers) + ". Try again later, or download it by hand to "
        f"{target}; a dataset's own file may name further mirrors."
    )


def _complete(url: str, part: Path, checksum: str | None) -> None:
    """Complete ``part`` from one address and verify it; if it does not match what lay there before, start over once.

    Raises:
        requests.RequestException: The address does not give the file.
    """
    resumed = checksum is not None and part.exists()
    failures = 0  # in a row, without a new byte
    while True:
        before = _size(part)
        try:
            _request(url, part, resume=checksum is not None)
            break
        except _PASSING as failure:
            failures = 0 if _size(part) > before else failures + 1
            if failures == TRIES:
                raise
            log.warning("%s: %s; trying again", url, failure)
            time.sleep(PAUSE * 2 ** max(0, failures - 1))
    if wrong := _mismatch(part, checksum):
        part.unlink()
        if not resumed:
            raise requests.RequestException(f"{wrong}: not the file that was published")
        log.warning("%s: what was there before does not belong to it; starting over", part)
        _complete(url, part, checksum)


def _request(url: str, part: Path, resume: bool) -> None:
    """Ask for what is missing and append it, or for everything and start over.

    Raises:
        requests.RequestException: The connection broke off, or the server answers with an error.
    """
    offset = _size(part) if resume else 0
    headers = {"User-Agent": "iou-aware", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if offset and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing, unless the part is another file's
        if response.status_code in _RETRIED:
            raise requests.ConnectionError(f"{response.status_code} {response.reason}")
        response.raise_for_status()
        continues = response.status_code == requests.codes.partial_content
        length = int(response.headers.get("Content-Length", 0))
        require_space(part.parent, length, "still to be downloaded")
        start = offset if continues else 0
        bar = tqdm(total=start + length, initial=start, unit="B", unit_scale=True, desc=part.stem, mininterval=1)
        with part.open("ab" if continues else "wb") as file, bar:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def _mismatch(file: Path, checksum: str | None) -> str | None:
    """Say which checksum a file has if it is a wrong one."""
    if checksum is None:
        return None
    log.info("%s: verifying", file.name)
    kind, digits = checksum.split(":")
    with file.open("rb") as opened:
        actual = hashlib.file_digest(opened, kind).hexdigest()[: len(digits)]
    return None if actual == digits else f"{kind} is {actual}, expected {digits}"


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise MachineError unless ``needed`` bytes are free in a folder; ``what`` says what is to happen to them."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(
            f"{folder}: {needed / 1e9:.1f} GB are {what}, but only {free / 1e9:.1f} GB are free. Make room, or choose "
            "another folder for the dataset."
        )
