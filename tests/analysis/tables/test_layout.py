"""From numbers to text, on rows made by hand: which cells, which digits, what is bold, and what the notes say."""

from dataclasses import replace

import pytest

from iou_aware.analysis.tables.layout import best_of, in_columns, one_by_one, shown
from iou_aware.analysis.tables.notes import notes_below, on_columns, verdict_counts
from iou_aware.analysis.tables.rows import NOTHING, TableContent, TableRow, with_numbers
from iou_aware.analysis.uncertainty.quantity import Quantity
from iou_aware.analysis.uncertainty.verdict import CONTRADICTED, INCONCLUSIVE, NOT_COMPARED, NOT_RUN, REPRODUCED
from iou_aware.evaluation.intervals import Interval

GAIN = {"gain": 1.24, "gain_paper": 1.0, "gain_low": 0.5, "gain_high": 2.0, "gain_verdict": "reproduced"}


def numbers(**known) -> dict:
    return {"AP": NOTHING | known}


CITED = TableRow("yolo", ("YOLO", "D"), "cited", paper={"AP": 21.6}, numbers=numbers(paper=21.6))
BASE = TableRow("base", ("RetinaNet", "R"), "ours", "cls", ("b0",), ("b0",), {"AP": 30.0}, {"AP": 35.9}, group=("x",))
BASE = replace(BASE, numbers=numbers(ours=30.0, paper=35.9, delta=-5.9, verdict="contradicted"))
AWARE = replace(
    BASE,
    key="aware",
    labels=("IoU-aware", "-"),
    rule="none",
    runs=("a0",),
    measured=("a0",),
    ours={"AP": 31.24},
    paper={"AP": 36.9},
    baseline="base",
    numbers=numbers(ours=31.24, paper=36.9, delta=-5.66, verdict="contradicted", **GAIN),
)
ADDED = replace(AWARE, key="added", labels=("Added", ""), kind="addition", ours={"AP": 99.0}, paper={})
ADDED = replace(ADDED, numbers=numbers(ours=99.0, gain=69.0, gain_verdict=""))
CONTENT = TableContent(("Model", "Backbone"), ("AP",), [CITED, BASE, AWARE, ADDED], {})
PLAIN = TableContent(("Model",), ("AP",), [replace(BASE, paper={})], {})


def texts(table) -> list[list[list[str]]]:
    return [[[f"{cell.text} {cell.paper}".strip() for cell in row] for row in part.rows] for part in table.sections]


def test_numbers_have_signs_that_can_be_read_and_nothing_has_none():
    assert [shown(number) for number in (None, 35.96)] == ["–", "36.0"]
    assert [shown(number, "+.1f") for number in (-0.04, 0.04, 3)] == ["0.0", "0.0", "+3.0"]
    assert shown(-1.25, "+.2f") == "−1.25"


def test_the_papers_layout_has_values_then_gains():
    table = in_columns("Table 1", "All.", CONTENT, ["One."])
    assert (table.heads, sorted(table.numeric), table.notes) == (("Model", "Backbone", "AP"), [2], ("One.",))
    assert [section.title for section in table.sections] == ["", "Gain over the baseline"]
    values, gains = texts(table)
    assert values[:2] == [["YOLO", "D", "(21.6)"], ["RetinaNet", "R", "30.0 (35.9)"]]
    assert values[2:] == [["IoU-aware", "-", "31.2 (36.9)"], ["Added †", "", "99.0"]]
    assert gains == [["IoU-aware", "-", "+1.2 (+1.0)"], ["Added †", "", "+69.0"]]
    values, gains = table.sections
    assert [row[2].best for row in values.rows] == [False, False, True, False]
    assert [row[2].runs for row in values.rows] == [(), ("b0",), ("a0",), ("a0",)]
    assert [row[2].verdict for row in gains.rows] == ["reproduced", ""]


def test_classes_stand_below_with_gains_over_the_baseline_of_their_own():
    content = replace(CONTENT, rows=[], classes={"red_cell": [BASE, replace(AWARE, ours={"AP": 32.0}), ADDED]})
    content = with_numbers(content, None, by_size=True)
    known = [{key: value for key, value in row.numbers["AP"].items() if value} for row in content.classes["red_cell"]]
    assert known == [{"ours": 30.0}, {"ours": 32.0, "gain": 2.0}, {"ours": 99.0, "gain": 69.0}]
    _, section = in_columns("T", "", content, []).sections
    assert (section.title, section.rows[1][2].text) == ("red_cell", "32.0")


@pytest.mark.parametrize(
    ("by_size", "ours", "gain", "printed", "verdict", "gain_verdict"),
    [
        (False, 36.9, 0.5, 36.9, NOT_COMPARED, REPRODUCED),
        (False, 36.9, 0.2, 36.9, NOT_COMPARED, INCONCLUSIVE),
        (False, 36.9, 0.5, 34.9, NOT_COMPARED, CONTRADICTED),
        (True, 32.9, 1.0, 36.9, CONTRADICTED, REPRODUCED),
        (True, 36.9, 5.0, 36.9, REPRODUCED, CONTRADICTED),
        (True, 36.9, 0.0, 35.9, CONTRADICTED, REPRODUCED),
        (True, None, None, 36.9, NOT_RUN, NOT_RUN),
    ],
)
def test_a_gain_is_judged_by_its_sign_and_like_a_value_by_its_size_where_sizes_are_compared(
    by_size, ours, gain, printed, verdict, gain_verdict
):
    """The paper's baseline has 35.9; ours are sure to 0.3."""

    def measure(label, sums) -> Quantity:
        value = gain if len(sums[0]) > 1 else ours
        return Quantity(label) if value is None else Quantity(label, value, low=value - 0.3, high=value + 0.3)

    content = replace(CONTENT, rows=[CITED, BASE, replace(AWARE, paper={"AP": printed})])
    cited, base, aware = (row.numbers["AP"] for row in with_numbers(content, measure, by_size).rows)
    assert (aware["verdict"], aware["gain_verdict"]) == (verdict, gain_verdict)
    assert cited == NOTHING | {"paper": 21.6} and base["gain_verdict"] is None


def test_a_number_and_its_gain_have_an_interval_and_a_range_over_seeds():
    def measure(label, sums) -> Quantity:
        return Quantity(label, 1.0, None, Interval(0.5, 1.5), 2, (0.8, 1.2), 0.1, 2.0)

    *_, aware = with_numbers(replace(CONTENT, rows=[BASE, AWARE]), measure, False).rows
    sure = {"low": 0.5, "high": 1.5, "lowest": 0.8, "highest": 1.2}
    assert aware.numbers["AP"].items() >= (sure | {f"gain_{name}": end for name, end in sure.items()}).items()


def test_the_best_is_that_at_the_precision_shown_and_of_several():
    near = replace(CONTENT, rows=[BASE, replace(AWARE, ours={"AP": 30.04})])
    assert best_of(near) == {"base": {"AP"}, "aware": {"AP"}}
    alone = replace(CONTENT, rows=[BASE, replace(AWARE, group=("y",))])
    assert best_of(alone) == {"base": set(), "aware": set()}


def test_number_by_number_leaves_out_what_would_be_empty():
    table = one_by_one("T", "", "", CONTENT, by_size=True)
    heads = ["Column", "Paper", "Ours", "Ours − paper", "Verdict", "Gain, paper", "Gain, ours", "95 % interval"]
    assert list(table.heads) == [*heads, "Verdict on the gain", "Seeds"]
    assert sorted(table.numeric) == [1, 2, 3, 5, 6, 7, 9]
    assert [section.title for section in table.sections] == ["RetinaNet, R", "IoU-aware", "Added †"]
    assert texts(table)[:2] == [
        [["AP", "35.9", "30.0", "−5.9", "contradicted", "", "", "", "", "1"]],
        [["AP", "36.9", "31.2", "−5.7", "contradicted", "+1.0", "+1.24", "+0.50 … +2.00", "reproduced", "1"]],
    ]
    assert [cell.runs for cell in table.sections[1].rows[0]][1:7] == [(), ("a0",), (), (), (), ("a0",)]
    assert one_by_one("T", "", "", PLAIN, by_size=True).heads == ("Column", "Ours", "Seeds")
    assert "Verdict" not in one_by_one("T", "", "", CONTENT, by_size=False).heads


def test_seeds_are_counted_and_have_a_range():
    known = numbers(ours=30.0, paper=35.9, lowest=29.0, highest=31.0)
    row = replace(BASE, runs=("b0", "b1"), measured=("b0",), numbers=known)
    content = replace(CONTENT, rows=[CITED, row])
    table = in_columns("T", "", content, [])
    assert table.heads[-1] == "Seeds" and table.numeric == {2, 3}
    assert [row[-1].text for row in table.sections[0].rows] == ["", "1 of 2"]
    detailed = one_by_one("T", "", "", content, by_size=False)
    assert detailed.heads == ("Column", "Paper", "Ours", "Range over seeds", "Ours − paper", "Seeds")
    assert texts(detailed)[0] == [["AP", "35.9", "30.0", "29.0 … 31.0", "–", "1 of 2"]]
    assert "Means over the seeds counted" in notes_below("val", content, False, {})[-2]
    gaining = replace(content, rows=[row, AWARE])
    assert on_columns(gaining).endswith("Over seeds there is a range and no interval.")
    three = replace(AWARE, runs=("a0", "a1", "a2"), measured=("a0", "a1", "a2"))
    assert "measured over the seeds" in on_columns(replace(content, rows=[row, three]))


def test_a_row_without_values_says_why():
    missing = numbers(paper=36.9, why="a0 is not trained")
    content = replace(CONTENT, rows=[replace(AWARE, measured=(), ours={}, numbers=missing), BASE])
    (section, _) = one_by_one("T", "", "", content, by_size=False).sections
    assert (section.title, section.runs) == ("IoU-aware (missing: a0 is not trained)", ())
    missing = {("a0", "val", "none"): "not trained"}
    assert notes_below("val", content, False, missing)[-1] == "– Missing: aware (not trained)."


@pytest.mark.parametrize("by_size", [False, True])
def test_notes_explain_what_is_there_and_nothing_else(by_size):
    notes = " ".join(notes_below("val", CONTENT, by_size, {}))
    for part in ("Ours, then the paper's", "cites from others", "Bold: the best", "† An addition", "One seed per row"):
        assert part in notes
    assert ("for the pattern only" in notes) == (not by_size)
    assert ("by its sign and size: ✓ reproduced." in notes) == by_size
    assert ("by its sign: ✓ reproduced." in notes) == (not by_size)
    assert "Missing" not in notes and "VOC07" not in notes
    assert notes_below("val", PLAIN, by_size, {}) == ["All values in percent.", "One seed per row."]


def test_columns_and_verdicts_are_told():
    caption = on_columns(CONTENT)
    assert "1,000 resamples" in caption and "Without one: the images are not resampled" in caption
    assert "Over seeds" not in caption
    assert "Without one" not in on_columns(replace(CONTENT, rows=[BASE, AWARE]))
    assert "resamples" not in on_columns(replace(CONTENT, rows=[BASE, ADDED]))
    assert on_columns(replace(CONTENT, rows=[BASE])) == ""
    assert verdict_counts(CONTENT) == "Gains: 1 reproduced. Values: 2 contradicted."
    assert verdict_counts(replace(CONTENT, rows=[ADDED])) == ""
