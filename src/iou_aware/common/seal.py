"""The seal of a finished run: ``run.json`` holds checksums of its files and of itself, so that a change is noticed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iou_aware.common.files import sha256, write_json
from iou_aware.common.messages import InputError

FILE = "run.json"
SEALED = ("weights.pth", "config.py", "history.csv")
AGAIN = "Remove the folder and make the run again, with `iou-aware train` or `iou-aware release`."


def write(folder: Path, record: Mapping[str, Any], names: Sequence[str] = SEALED) -> dict[str, Any]:
    """Seal a run's folder: write ``run.json``, last of its files.

    Args:
        folder: The run's folder.
        record: What ``run.json`` says about the run.
        names: The files that it consists of.

    Returns:
        The record with ``config_sha256``, ``weights_sha256``, ``files`` (name to checksum) and ``seal``.
    """
    files = {name: sha256(folder / name) for name in names}
    sealed = {**record, "config_sha256": files["config.py"], "weights_sha256": files["weights.pth"], "files": files}
    sealed["seal"] = _digest(sealed)
    write_json(folder / FILE, sealed)
    return sealed


def verify(folder: Path) -> dict[str, Any]:
    """Return the record of a finished run whose files are all as they were sealed.

    Raises:
        InputError: The run is not finished, or a file is missing, truncated or changed; named with its checksums.
    """
    path = folder / FILE
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError as fault:
        raise InputError(
            f"{path} does not exist: the run is not finished, or its folder is not results/EXPERIMENT/runs/RUN. Run "
            "`iou-aware train` (or `release`) for it."
        ) from fault
    except (ValueError, RecursionError) as fault:
        raise InputError(f"{path}: damaged, not JSON ({fault}). {AGAIN}") from fault
    sealed = record.get("seal") if isinstance(record, dict) else None
    found = _digest(record) if sealed else None
    if found != sealed or not sealed:
        raise InputError(f"{path}: changed: its seal is {sealed}, its content gives {found}. {AGAIN}")
    for name, expected in record["files"].items():
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing, but the run was finished with it. {AGAIN}")
        found = sha256(folder / name)
        if found != expected:
            raise InputError(f"{folder / name}: changed or truncated: sha256 {found}, sealed {expected}. {AGAIN}")
    return record


def _digest(record: Mapping[str, Any]) -> str:
    """Return the checksum of a record without its own seal, whatever the order of its keys."""
    content = {key: value for key, value in record.items() if key != "seal"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
