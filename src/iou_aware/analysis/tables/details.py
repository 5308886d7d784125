"""A table once more, number by number: paper, ours, difference, gain with its interval, seeds and verdicts."""

from collections import Counter
from collections.abc import Callable

from iou_aware.analysis.bootstrap.resamples import RESAMPLES
from iou_aware.analysis.tables.comparison import Compared, Comparisons
from iou_aware.analysis.tables.content import Content, Line
from iou_aware.analysis.tables.sheet import DAGGER, MISSING, Column, Details, Group
from iou_aware.analysis.uncertainty.quantity import Quantity
from iou_aware.analysis.uncertainty.verdict import VERDICTS

# What stands in a column: text of a row's one number.
Text = Callable[[Line, Compared], str]


def lay_out(title: str, content: Content, compared: Comparisons, values: bool) -> Details:
    """Return a table number by number; columns that would be empty throughout are left out."""
    columns = _columns(content, values)
    groups = []
    for line in content.lines:
        if line.key in compared:
            numbers = compared[line.key]
            cells = tuple(tuple(text(line, numbers[metric]) for _, text in columns) for metric in numbers)
            groups.append(Group(_heading(line), line.measured, line.rule, _why(line, numbers), tuple(numbers), cells))
    title = f"{title}, number by number"
    return Details(
        title=title,
        caption=_caption(content, compared),
        summary=f"{title}. {_summary(compared)}".strip(),
        columns=tuple(column for column, _ in columns),
        groups=tuple(groups),
    )


def _caption(content: Content, compared: Comparisons) -> str:
    """Say what the columns about gains are; empty where there are none."""
    gains = [number.gain for row in compared.values() for number in row.values() if number.gain is not None]
    if not gains:
        return ""
    parts = ["Gains are over the same model without the IoU head."]
    if any(gain.quantity.interval for gain in gains):
        parts.append(
            f"Intervals: paired bootstrap over the images, {RESAMPLES:,} resamples. A verdict allows for what two"
            " trainings differ by as well, so it may be inconclusive where the interval is not."
        )
    if any(gain.quantity.value is not None and gain.quantity.interval is None for gain in gains):
        parts.append("Without one: the images are not resampled, or the metric is none of those that are.")
    if any(len(line.runs) > 1 for line in content.lines):
        parts.append("Over seeds there is a range and no interval.")
    return " ".join(parts)


def shown(number: float | None, form: str = ".1f", absent: str = MISSING) -> str:
    """Return a number as the paper prints it, with one decimal, or in another form."""
    if number is None:
        return absent
    text = f"{number:{form}}"
    return text.lstrip("+-").replace("-", "−") if not text.strip("+-0.") else text.replace("-", "−")


def signed(number: float | None, form: str = "+.1f", absent: str = MISSING) -> str:
    """Return a difference with its sign, and without one if it is nothing at the precision shown."""
    return shown(number, form, absent)


def count(line: Line) -> str:
    """Return how many seeds a row is the mean of, and of how many where some are missing."""
    if not line.runs:
        return ""
    seeds = len(line.measured)
    return f"{seeds}" if seeds == len(line.runs) else f"{seeds} of {len(line.runs)}"


def _columns(content: Content, values: bool) -> list[tuple[Column, Text]]:
    """Return the columns, each with what stands in it."""
    printed = any(line.paper for line in content.lines)
    gaining = any(line.baseline for line in content.lines)
    seeds = any(len(line.runs) > 1 for line in content.lines)
    columns = []
    if printed:
        columns.append((Column("Paper", "numbers"), lambda line, number: shown(number.value.quantity.paper)))
    columns.append((Column("Ours", "ours"), lambda line, number: shown(number.value.quantity.value)))
    if seeds:
        columns.append((Column("Range over seeds", "numbers"), lambda line, number: _span(number.value.quantity)))
    if printed:
        columns.append((Column("Ours − paper", "numbers"), lambda line, number: signed(number.delta)))
    if printed and values:
        columns.append((Column("Verdict", "words"), lambda line, number: number.value.verdict))
    if gaining:
        columns += _gain_columns(printed, seeds)
    columns.append((Column("Seeds", "numbers"), lambda line, number: count(line)))
    return columns


def _gain_columns(printed: bool, seeds: bool) -> list[tuple[Column, Text]]:
    def of_gain(text: Callable[[Quantity], str]) -> Text:
        return lambda line, number: "" if number.gain is None else text(number.gain.quantity)

    columns = [(Column("Gain, paper", "numbers"), of_gain(lambda gain: signed(gain.paper)))] if printed else []
    columns.append((Column("Gain, ours", "ours"), of_gain(lambda gain: signed(gain.value, "+.2f"))))
    columns.append((Column("95 % interval", "numbers"), of_gain(_interval)))
    if seeds:
        columns.append((Column("Its range over seeds", "numbers"), of_gain(lambda gain: _span(gain, "+.2f"))))
    if printed:
        columns.append(
            (Column("Verdict on the gain", "words"), lambda line, number: number.gain.verdict if number.gain else "")
        )
    return columns


def _interval(gain: Quantity) -> str:
    if gain.interval is None:
        return MISSING
    return f"{signed(gain.interval.low, '+.2f')} … {signed(gain.interval.high, '+.2f')}"


def _span(quantity: Quantity, form: str = ".1f") -> str:
    return "" if quantity.span is None else " … ".join(shown(end, form) for end in quantity.span)


def _heading(line: Line) -> str:
    marked = f" {DAGGER}" if line.kind == "addition" else ""
    return ", ".join(label for label in line.labels if label not in ("", "-")) + marked


def _why(line: Line, numbers: dict[str, Compared]) -> str:
    """Return why a row has no values; empty where it has some."""
    reasons = (number.value.quantity.missing for number in numbers.values())
    return "" if line.measured else f"missing: {next(filter(None, reasons), 'not collected')}"


def _summary(compared: Comparisons) -> str:
    """Return how many gains and values have which verdict."""
    numbers = [number for row in compared.values() for number in row.values()]
    parts = []
    for what, findings in (
        ("Gains", [number.gain for number in numbers]),
        ("Values", [number.value for number in numbers]),
    ):
        counts = Counter(finding.verdict for finding in findings if finding is not None)
        words = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
        if set(counts) & set(VERDICTS[:3]):
            parts.append(f"{what}: {', '.join(words)}.")
    return " ".join(parts)
