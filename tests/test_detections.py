"""Detections on disk: what goes in comes out, per rule, in order, whole or not at all."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from builders.data import put
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from iou_aware import detections
from iou_aware.common.messages import InputError
from iou_aware.detections import Detections

RULES = ["none", "alpha=0.50", "alpha=0.10"]


def made_up(count: int, seed: int = 0, iou: bool = True) -> Detections:
    rng = np.random.default_rng(seed)
    return Detections(
        image_ids=np.sort(rng.integers(1, 1 << 40, count)),
        category_ids=rng.integers(1, 90, count).astype(np.int32),
        boxes=np.sort(rng.uniform(0, 500, (count, 2, 2)), axis=1).reshape(count, 4).astype(np.float32),
        confidences=rng.uniform(0, 1, count).astype(np.float32),
        cls_scores=rng.uniform(0, 1, count).astype(np.float32),
        iou_preds=rng.uniform(0, 1, count).astype(np.float32) if iou else None,
    )


def part(found: Detections, rows) -> Detections:
    return Detections(**{name: None if values is None else values[rows] for name, values in vars(found).items()})


def assert_equal(ours: Detections, theirs: Detections) -> None:
    for name in Detections.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), strict=True)


@settings(max_examples=40)
@given(
    rules=arrays.arrays(np.int64, st.integers(0, 200), elements=st.integers(0, len(RULES) - 1)),
    chunks=st.integers(1, 7),
    group=st.integers(1, 60),
    iou=st.booleans(),
)
def test_read_returns_what_was_written(tmp_path_factory, rules, chunks, group, iou):
    path = tmp_path_factory.mktemp("detections") / "val.parquet"
    found = made_up(len(rules), iou=iou)
    found.boxes[::5, 2:] = found.boxes[::5, :2]  # without area
    found.confidences[::5], found.cls_scores[::5] = 0, 1
    parts = [(rules[rows], part(found, rows)) for rows in np.array_split(np.arange(len(rules)), chunks)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detections, "ROWS_PER_GROUP", group)
        written = detections.write(path, RULES, 9, {"run": "r"}, parts)
    assert written == len(rules) == pq.ParquetFile(path).metadata.num_rows
    assert detections.provenance(path) == {"run": "r", "rules": RULES, "images": 9}
    for number, rule in enumerate(RULES):
        ours, expected = detections.read(path, rule), part(found, rules == number)
        assert len(ours.image_ids) == len(ours.boxes) == len(expected.image_ids)
        if len(expected.image_ids):
            assert_equal(ours, expected)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file of three rules in several row groups."""
    path = tmp_path_factory.mktemp("written") / "val.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detections, "ROWS_PER_GROUP", 50)
        detections.write(path, RULES, 40, {"run": "r"}, [(np.arange(60) % 3, made_up(60, seed)) for seed in range(4)])
    return path


def test_bad_files_are_named(written, tmp_path):
    with pytest.raises(InputError, match=r"val\.parquet: no detections by the rule 'cls', only by none, alpha=0.50"):
        detections.read(written, "cls")
    path = tmp_path / "val.parquet"
    with pytest.raises(InputError, match=r"val\.parquet does not exist: run `iou-aware predict`"):
        detections.provenance(path)
    path.write_bytes(written.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"val\.parquet: truncated or no Parquet file"):
        detections.provenance(path)
    pq.write_table(pa.table({"score": [1.0]}), path)
    with pytest.raises(InputError, match=r"val\.parquet: not a file of detections: its columns are score"):
        detections.provenance(path)


def test_a_flipped_byte_is_noticed_or_means_nothing(written, tmp_path):
    """Wherever it is: in values, in what Parquet says of them, in what made them."""
    path, content = tmp_path / "val.parquet", written.read_bytes()
    expected = [detections.read(written, rule) for rule in RULES]
    made = detections.provenance(written)
    noticed = 0
    for place in range(0, len(content), 41):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 + place % 255)]) + content[place + 1 :])
        try:
            assert detections.provenance(path) == made
            for rule, found in zip(RULES, expected, strict=True):
                assert_equal(detections.read(path, rule), found)
        except InputError as fault:
            assert "val.parquet" in str(fault)
            noticed += 1
    assert noticed > len(content) // 41 * 0.7


EDITS = {
    "row missing": lambda table: pa.concat_tables([table.slice(0, 4), table.slice(5)]),
    "other order": lambda table: table.sort_by("confidence"),
    "other score": lambda table: table.set_column(8, table.field(8), pc.multiply(table["cls_score"], np.float32(0.5))),
    "no metadata": lambda table: table.replace_schema_metadata({}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_file_is_refused(written, tmp_path, edit):
    path, whole = tmp_path / "val.parquet", pq.ParquetFile(written)
    metadata = {key: value for key, value in whole.metadata.metadata.items() if key != b"ARROW:schema"}
    table = whole.read().replace_schema_metadata(metadata)
    pq.write_table(table, path)  # in other row groups, which change nothing
    assert_equal(detections.read(path, RULES[1]), detections.read(written, RULES[1]))
    pq.write_table(EDITS[edit](table), path)
    with pytest.raises(InputError, match=r"val\.parquet.*[Rr]un `iou-aware predict`"):
        detections.read(path, RULES[1])


@pytest.mark.parametrize(
    ("column", "wrong", "told"),
    [
        ("confidences", 5.0, "confidence 5, cls_score"),
        ("confidences", -0.5, "confidence -0.5, cls_score"),
        ("cls_scores", np.inf, "cls_score inf, iou_pred"),
        ("iou_preds", 1.01, "iou_pred 1.01;"),
        ("iou_preds", np.nan, "iou_pred nan;"),
        ("boxes", [0, 0, np.inf, 5], r"box \[0.0, 0.0, inf, 5.0\], confidence"),
        ("boxes", [5, 0, 4.5, 5], r"box \[5.0, 0.0, 4.5, 5.0\], confidence .* x1 <= x2"),
        ("boxes", [0, 5, 5, -5], r"box \[0.0, 5.0, 5.0, -5.0\], confidence .* y1 <= y2"),
    ],
)
def test_values_that_cannot_be_leave_the_file_as_it_was(tmp_path, column, wrong, told):
    found = made_up(9)
    getattr(found, column)[4] = wrong
    path = put(tmp_path / "val.parquet", "before")
    told = rf"val\.parquet: a detection on image {found.image_ids[4]} has the .*{told}.*\(1 such detections\)"
    with pytest.raises(InputError, match=told):
        detections.write(path, RULES, 9, {}, [(np.zeros(9, np.int64), part) for part in (made_up(9), found)])
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
