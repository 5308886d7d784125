"""Detections on disk: one compact columnar file per run and split, which holds every rule.

Rows are in the order of the split's images, within an image in the order of the rules, and then by descending
confidence. Images without detections have no rows, so the file says how many images it covers.

The file has a checksum per rule, over its provenance and the rule's rows. Every reader verifies it, so that damaged
detections are never evaluated.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from iou_aware.common.files import writing
from iou_aware.common.messages import InputError

BOX = ("x1", "y1", "x2", "y2")
SCORES = ("confidence", "cls_score", "iou_pred")
SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("rule", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("category_id", pa.int32(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=name == "iou_pred") for name in (*BOX, *SCORES)),
    ]
)
ROWS_PER_GROUP = 1 << 17
CHECKSUMS = b"sha256"  # by rule; beside the schema's metadata, as they are known last
AGAIN = "Run `iou-aware predict` again for this run and split."
_DAMAGE = (pa.ArrowException, OSError, ValueError)  # what pyarrow raises over bad bytes
_Rule = TypeVar("_Rule", bound=str)
# A row as the checksum reads it.
_ROW = np.dtype([("ids", "<i8", 2), ("numbers", "<f4", 7)])


@dataclass(frozen=True)
class Detections:
    """N detections, of one image or of many.

    Attributes:
        image_ids: The image of each, (N,) int64.
        category_ids: The dataset's own category ids, (N,) int32.
        boxes: x1, y1, x2, y2 in pixels of the stored image, (N, 4) float32.
        confidences: What ranks them, (N,) float32 in [0, 1].
        cls_scores: The classification score alone, (N,) float32 in [0, 1].
        iou_preds: The predicted IoU, (N,) float32 in [0, 1]; None for a detector that predicts none.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes: np.ndarray
    confidences: np.ndarray
    cls_scores: np.ndarray
    iou_preds: np.ndarray | None = None

    @property
    def results(self) -> np.ndarray:
        """As evaluators load them, ``(N, 7)`` float64: image id, x, y, width, height, confidence, category id."""
        corners = self.boxes.astype(np.float64)
        sides = corners[:, 2:] - corners[:, :2]
        return np.column_stack([self.image_ids, corners[:, :2], sides, self.confidences, self.category_ids])


def write(
    path: Path,
    rules: Sequence[str],
    images: int,
    provenance: Mapping[str, Any],
    parts: Iterable[tuple[np.ndarray, Detections]],
) -> int:
    """Write detections as they come, so that memory does not grow with the number of images; return how many.

    Args:
        path: The Parquet file; it appears when all are written, and not otherwise.
        rules: The rules as text, in order.
        images: How many images will have been looked at, with or without detections.
        provenance: What made the detections; kept in the file's metadata with ``rules`` and ``images``.
        parts: The detections in the file's order, with the place of each one's rule among ``rules``, (N,).

    Raises:
        InputError: A detection is impossible.
    """
    about = {**provenance, "rules": list(rules), "images": images}
    schema = SCHEMA.with_metadata({"provenance": json.dumps(about)})
    checksums = {rule: _checksum(schema.metadata[b"provenance"], rule) for rule in rules}
    written = 0
    with (
        writing(path) as beside,
        pq.ParquetWriter(beside, schema, compression="zstd", use_dictionary=["rule"], write_page_checksum=True) as file,
    ):
        for numbers, rows in _groups(parts, path):
            for number, checksum in enumerate(checksums.values()):
                checksum.update(rows[numbers == number].tobytes())
            columns = [
                pa.array(rows["ids"][:, 0]),
                pa.DictionaryArray.from_arrays(numbers.astype(np.int32), list(rules)),
                pa.array(rows["ids"][:, 1], pa.int32()),
                *(pa.array(column, from_pandas=True) for column in rows["numbers"].T),  # a NaN is a missing iou_pred
            ]
            file.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=len(rows))
            written += len(rows)
        digests = {rule: checksum.hexdigest() for rule, checksum in checksums.items()}
        file.add_key_value_metadata({CHECKSUMS: json.dumps(digests)})
    return written


def _groups(parts: Iterable[tuple[np.ndarray, Detections]], path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the row groups of a file: for each the places of the rules, and the detections as rows."""
    waiting, count = [], 0
    for numbers, found in parts:
        _check_values(found, path)
        waiting.append((numbers, _rows(found)))
        count += len(numbers)
        if count >= ROWS_PER_GROUP:
            yield tuple(map(np.concatenate, zip(*waiting, strict=True)))
            waiting, count = [], 0
    if count:
        yield tuple(map(np.concatenate, zip(*waiting, strict=True)))


def provenance(path: Path) -> dict[str, Any]:
    """Return what made a file of detections, with its ``rules`` and number of ``images``.

    Raises:
        InputError: The file is missing, truncated, or not one of detections.
    """
    return _open(path)[1]


def read(path: Path, rule: str) -> Detections:
    """Return all detections of one rule, in the file's order.

    Raises:
        InputError: As ``by_rule`` does.
    """
    return next(by_rule(path, [rule]))[1]


def by_rule(path: Path, rules: Iterable[_Rule]) -> Iterator[tuple[_Rule, Detections]]:
    """Yield each of some rules with all its detections, in the file's order. The file is read once.

    Raises:
        InputError: The file is missing, damaged, changed since it was written, not one of detections, or lacks a rule.
    """
    file, about, checksums = _open(path)
    made = file.metadata.metadata[b"provenance"]
    try:
        table = file.read()
        table.validate(full=True)
    except _DAMAGE as fault:
        raise InputError(f"{path}: damaged ({fault}). {AGAIN}") from fault
    for rule in rules:
        if rule not in about["rules"]:
            raise InputError(f"{path}: no detections by the rule '{rule}', only by {', '.join(about['rules'])}.")
        found, checksum = _detections(table.filter(pc.field("rule") == rule)), _checksum(made, rule)
        checksum.update(_rows(found).tobytes())
        if checksum.hexdigest() != checksums.get(rule):
            raise InputError(
                f"{path}: changed after it was written: the detections by the rule '{rule}' have the sha256 "
                f"{checksum.hexdigest()}, written {checksums.get(rule)}. {AGAIN}"
            )
        yield rule, found


def _detections(table: pa.Table) -> Detections:
    columns = {name: table.column(name).to_numpy() for name in table.column_names if name != "rule"}
    without = table.column("iou_pred").null_count == len(table)
    return Detections(
        image_ids=columns["image_id"],
        category_ids=columns["category_id"],
        boxes=np.stack([columns[name] for name in BOX], axis=1),
        confidences=columns["confidence"],
        cls_scores=columns["cls_score"],
        iou_preds=None if without else columns["iou_pred"],
    )


def _rows(found: Detections) -> np.ndarray:
    """Return N detections row by row, ``(N,)`` of ``_ROW``: the same bytes whatever the pieces that they come in."""
    rows = np.empty(len(found.image_ids), _ROW)
    rows["ids"] = np.stack([found.image_ids, found.category_ids], axis=1)
    rows["numbers"][:, :4] = found.boxes
    for column, values in enumerate((found.confidences, found.cls_scores, found.iou_preds), start=4):
        rows["numbers"][:, column] = np.nan if values is None else values
    return rows


def _checksum(made: bytes, rule: str) -> Any:
    """Return the checksum of a rule before its first detection: over the provenance and the rule."""
    return hashlib.sha256(made + rule.encode())


def _check_values(found: Detections, path: Path) -> None:
    """Raise InputError about a file if a detection is impossible; a box without area is not."""
    scores = [found.confidences, found.cls_scores] + ([] if found.iou_preds is None else [found.iou_preds])
    fine = np.all([(values >= 0) & (values <= 1) for values in scores], axis=0)
    fine &= np.isfinite(found.boxes).all(1) & (found.boxes[:, 2:] >= found.boxes[:, :2]).all(1)
    if not fine.all():
        first = np.argmin(fine)
        told = ", ".join(f"{name} {values[first]:g}" for name, values in zip(SCORES, scores, strict=False))
        raise InputError(
            f"{path}: a detection on image {found.image_ids[first]} has the box {found.boxes[first].tolist()}, {told}; "
            f"expected finite corners, x1 <= x2, y1 <= y2, and numbers from 0 to 1 ({(~fine).sum()} such detections). "
            f"Its run may have diverged; see the losses in history.csv. {AGAIN}"
        )


def _open(path: Path) -> tuple[pq.ParquetFile, dict[str, Any], dict[str, str]]:
    """Return a file of detections, what made them, and the checksums by rule."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        schema = file.schema_arrow.remove_metadata()
    except FileNotFoundError as fault:
        raise InputError(f"{path} does not exist: run `iou-aware predict` for this run and split first.") from fault
    except _DAMAGE as fault:
        raise InputError(f"{path}: truncated or no Parquet file ({fault}). {AGAIN}") from fault
    if not schema.equals(SCHEMA):
        raise InputError(
            f"{path}: not a file of detections: its columns are {', '.join(schema.names)}, expected "
            f"{', '.join(SCHEMA.names)}. {AGAIN}"
        )
    try:
        about, checksums = (json.loads(file.metadata.metadata[key]) for key in (b"provenance", CHECKSUMS))
        return file, {**about, "rules": list(about["rules"])}, checksums
    except (KeyError, TypeError, ValueError) as fault:
        raise InputError(f"{path}: does not say what made it, or has no checksums ({fault!r}). {AGAIN}") from fault
