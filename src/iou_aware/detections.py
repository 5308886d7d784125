"""Detections on disk: one compact columnar file per run and split, which holds every rule.

Rows are in the order of the split's images, within an image in the order of the rules, and then by descending
confidence. Images without detections have no rows, so the file says how many images it covers.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from iou_aware.common.errors import InputError
from iou_aware.common.files import writing
from iou_aware.experiment.experiment import Experiment
from iou_aware.method.confidence import Rule

BOX = ("x1", "y1", "x2", "y2")
SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("rule", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("category_id", pa.int32(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in BOX),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("cls_score", pa.float32(), nullable=False),
        pa.field("iou_pred", pa.float32()),
    ]
)
ROWS_PER_GROUP = 1 << 17


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


class Writer:
    """Gathers detections and writes them in row groups, so that memory does not grow with the number of images."""

    def __init__(self, file: pq.ParquetWriter, schema: pa.Schema, rules: Sequence[str]):
        self._file, self._schema, self._rules = file, schema, list(rules)
        self._parts: list[tuple[np.ndarray, Detections]] = []
        self._waiting = 0
        self.rows = 0

    def add(self, rules: np.ndarray, found: Detections) -> None:
        """Add detections in the file's order.

        Args:
            rules: The place of each one's rule among the file's rules, (N,).
            found: The detections.
        """
        self._parts.append((rules, found))
        self._waiting += len(rules)
        if self._waiting >= ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting as one row group."""
        if not self._waiting:
            return
        rules = np.concatenate([rules for rules, _ in self._parts]).astype(np.int32)
        boxes = np.concatenate([found.boxes for _, found in self._parts]).astype(np.float32)
        columns = [
            pa.array(self._column("image_ids", np.int64)),
            pa.DictionaryArray.from_arrays(rules, self._rules),
            pa.array(self._column("category_ids", np.int32)),
            *(pa.array(np.ascontiguousarray(boxes[:, side])) for side in range(4)),
            pa.array(self._column("confidences", np.float32)),
            pa.array(self._column("cls_scores", np.float32)),
            self._iou_preds(),
        ]
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=self._waiting)
        self.rows += self._waiting
        self._parts, self._waiting = [], 0

    def _column(self, name: str, dtype: type) -> np.ndarray:
        return np.concatenate([getattr(found, name) for _, found in self._parts]).astype(dtype)

    def _iou_preds(self) -> pa.Array:
        chunks = [
            pa.nulls(len(rules), pa.float32())
            if found.iou_preds is None
            else pa.array(found.iou_preds.astype(np.float32))
            for rules, found in self._parts
        ]
        return pa.concat_arrays(chunks)


@contextmanager
def writer(path: Path, rules: Sequence[str], images: int, provenance: Mapping[str, Any]) -> Iterator[Writer]:
    """Yield a writer to a file that appears when the block ends well, and not otherwise.

    Args:
        path: The Parquet file.
        rules: The rules as text, in order.
        images: How many images will have been looked at, with or without detections.
        provenance: What made the detections; kept in the file's metadata with ``rules`` and ``images``.
    """
    about = {**provenance, "rules": list(rules), "images": images}
    schema = SCHEMA.with_metadata({"provenance": json.dumps(about)})
    with (
        writing(path) as beside,
        pq.ParquetWriter(beside, schema, compression="zstd", use_dictionary=["rule"]) as file,
    ):
        opened = Writer(file, schema, rules)
        yield opened
        opened.flush()


def provenance(path: Path) -> dict[str, Any]:
    """Return what made a file of detections, with its ``rules`` and number of ``images``.

    Raises:
        InputError: The file is missing, truncated, or not one of detections.
    """
    return json.loads(_open(path).schema_arrow.metadata[b"provenance"])


def read(path: Path, rule: str) -> Detections:
    """Return all detections of one rule, in the file's order.

    Raises:
        InputError: The file is missing, truncated, not one of detections, or lacks the rule.
    """
    _require_rule(path, rule)
    return _detections(pq.read_table(path, filters=pc.field("rule") == rule))


def pieces(path: Path, rule: str) -> Iterator[Detections]:
    """Yield the detections of one rule, in the file's order and a piece at a time, however large the file is.

    Raises:
        InputError: As ``read`` does.
    """
    _require_rule(path, rule)
    file = _open(path)
    for group in range(file.num_row_groups):
        yield _detections(file.read_row_group(group).filter(pc.field("rule") == rule))


def write_coco(file: IO[str], found: Iterable[Detections]) -> int:
    """Write COCO's results JSON: boxes as x, y, width, height, and the confidence as score; return how many."""
    number = 0
    file.write("[")
    for part in found:
        boxes = part.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        columns = (part.image_ids, part.category_ids, boxes, part.confidences.astype(np.float64))
        for image, category, box, score in zip(*(column.tolist() for column in columns), strict=True):
            record = {"image_id": image, "category_id": category, "bbox": box, "score": score}
            file.write((",\n" if number else "\n") + json.dumps(record))
            number += 1
    file.write("\n]\n")
    return number


def export(experiment: Experiment, run_name: str, split: str, rule: str, target: Path) -> None:
    """Write what one run found on one split by one rule as COCO's results JSON, see ``export_coco``.

    Raises:
        InputError: The rule is none, or the run has no detections by it on the split.
    """
    export_coco(experiment.paths.detections(run_name, split), str(Rule.parse(rule)), target)


def export_coco(path: Path, rule: str, target: Path) -> None:
    """Write one rule's detections as COCO's results JSON: boxes as x, y, width, height, and the confidence as score.

    Raises:
        InputError: As ``read`` does.
    """
    with writing(target) as beside, beside.open("w", encoding="utf-8") as file:
        write_coco(file, pieces(path, rule))


def _require_rule(path: Path, rule: str) -> None:
    rules = provenance(path)["rules"]
    if rule not in rules:
        raise InputError(f"{path}: no detections by the rule '{rule}', only by {', '.join(rules)}.")


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


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError as fault:
        raise InputError(f"{path} does not exist: run `iou-aware predict` for this run and split first.") from fault
    except pa.ArrowInvalid as fault:
        raise InputError(f"{path}: truncated or no Parquet file ({fault}). Run `iou-aware predict` again.") from fault
    if not file.schema_arrow.remove_metadata().equals(SCHEMA):
        raise InputError(
            f"{path}: not a file of detections: its columns are {', '.join(file.schema_arrow.names)}, expected "
            f"{', '.join(SCHEMA.names)}. Run `iou-aware predict` again."
        )
    return file
