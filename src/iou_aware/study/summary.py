"""What came out, in words: the gains and orderings that the paper reports, ours beside the paper's."""

from collections.abc import Iterable
from dataclasses import dataclass

from iou_aware.study.experiment import Experiment
from iou_aware.study.table_content import Line, Values, build

Lines = dict[str, Line]

LOSSES = "table2"
# What lowering alpha is asked of: table3 has the sizes, table4 the thresholds.
ALPHAS = {"table3": ("AP50", "AP75"), "table4": ("AP60", "AP70", "AP80", "AP90")}
GAINS = ("AP", "AP50", "AP75", "AP80", "AP90")


@dataclass(frozen=True)
class Finding:
    """One thing that the paper reports and that our numbers can be asked.

    Attributes:
        place: where it stands: ``Table 2``.
        statement: what is compared.
        ours: our numbers, as text.
        paper: the paper's; empty where it has none.
        agrees: whether ours point where the paper's do; None where there is nothing to compare.
    """

    place: str
    statement: str
    ours: str
    paper: str
    agrees: bool | None


def findings(experiment: Experiment) -> list[Finding]:
    """Return what the tables that there are values for have to say, in the order of the tables."""
    found: list[Finding] = []
    for table in experiment.tables.values():
        content = build(experiment, table)
        lines = {line.key: line for line in content.lines}
        if table.paper == LOSSES:
            found += _of_losses(table.title, lines)
        elif table.paper in ALPHAS:
            found += _of_alphas(table.title, lines, ALPHAS[table.paper])
        else:
            found += _of_models(table.title, lines, [metric for metric in GAINS if metric in content.metrics])
    return [finding for finding in found if finding.ours]


def _of_models(place: str, lines: Lines, metrics: Iterable[str]) -> list[Finding]:
    """Gains over the same model without the IoU head, and over Faster R-CNN on the same backbone."""
    pairs = [(line, lines[line.baseline]) for line in lines.values() if line.baseline]
    rivals = {line.group: line for line in lines.values() if any(".faster_rcnn." in run for run in line.runs)}
    against = [(line, rivals[line.group]) for line, _ in pairs if line.group in rivals]
    found = [_compared(place, f"{metric}, IoU-aware minus baseline", pairs, metric) for metric in metrics]
    return [*found, _compared(place, "AP, IoU-aware minus Faster R-CNN", against, "AP")]


def _of_losses(place: str, lines: Lines) -> list[Finding]:
    """The order of the losses in AP, with the baseline among them."""
    rows = [lines[key] for key in ("baseline", "l2", "bce") if key in lines and "AP" in lines[key].values]
    if len(rows) < 3:
        return []
    ours = sorted(rows, key=lambda line: line.values["AP"])
    paper = sorted(rows, key=lambda line: line.paper["AP"])
    shown = " < ".join(f"{line.labels[0]} {line.values['AP']:.1f}" for line in ours)
    printed = " < ".join(f"{line.labels[0]} {line.paper['AP']:.1f}" for line in paper)
    return [Finding(place, "AP by IoU prediction loss", shown, printed, ours == paper)]


def _of_alphas(place: str, lines: Lines, metrics: Iterable[str]) -> list[Finding]:
    """What lowering alpha does: where AP is best, and what is lost and won at the ends."""
    alphas = {line.rule.removeprefix("alpha="): line for line in lines.values() if line.rule.startswith("alpha=")}
    alphas = {alpha: line for alpha, line in alphas.items() if line.values and line.paper}
    if not {"1.00", "0.50", "0.10"} <= set(alphas):
        return []
    one, half, tenth = (alphas[alpha] for alpha in ("1.00", "0.50", "0.10"))
    found = [_compared(place, f"{metric} at alpha 0.1 minus at 1.0", [(tenth, one)], metric) for metric in metrics]
    if "AP70" in metrics:
        return found
    ours, paper = (max(alphas, key=lambda alpha: of(alphas[alpha])["AP"]) for of in (_ours, _paper))
    shown, printed = (
        f"{alphas[ours].values['AP']:.1f} at alpha {ours}",
        f"{alphas[paper].paper['AP']:.1f} at alpha {paper}",
    )
    best = Finding(place, "best AP", shown, printed, 0 < float(ours) < 1)
    ends = [("alpha 1.0 minus baseline", [(one, lines[one.baseline])])] if one.baseline else []
    ends += [("no alpha (p x IoU) minus alpha 0.5", [(lines["none"], half)])] if "none" in lines else []
    ends += [("alpha 0 minus alpha 0.1", [(alphas["0.00"], tenth)])] if "0.00" in alphas else []
    return [best, *found, *(_compared(place, f"AP, {statement}", pairs, "AP") for statement, pairs in ends)]


def _compared(place: str, statement: str, pairs: list[tuple[Line, Line]], metric: str) -> Finding:
    """Compare pairs of rows in one metric; they agree when every difference has the sign that the paper's has."""
    ours, paper = ([_difference(of(a), of(b), metric) for a, b in pairs] for of in (_ours, _paper))
    known = [
        (mine, theirs) for mine, theirs in zip(ours, paper, strict=True) if mine is not None and theirs is not None
    ]
    agrees = all(mine * theirs > 0 or theirs == 0 for mine, theirs in known) if known else None
    return Finding(place, statement, _listed(ours, pairs), _listed(paper, pairs) if known else "", agrees)


def _difference(a: Values, b: Values, metric: str) -> float | None:
    """Return ``a - b`` to the one decimal that is shown, None where either has no value."""
    return round(a[metric] - b[metric], 1) + 0.0 if metric in a and metric in b else None


def _listed(values: list[float | None], pairs: list[tuple[Line, Line]]) -> str:
    """Return ``+1.0 (ResNet-50-FPN), +1.1 (ResNet-101-FPN)``; what tells the rows apart stands in the parentheses."""
    names = [_name(line, [other for other, _ in pairs]) for line, _ in pairs]
    shown = [(value, name) for value, name in zip(values, names, strict=True) if value is not None]
    return ", ".join(
        f"{value:+.1f}{f' ({name})' if name else ''}".replace("-", "−", value < 0) for value, name in shown
    )


def _name(line: Line, others: list[Line]) -> str:
    """Return the labels of a row that not all of the others have."""
    if len(others) == 1:
        return ""
    differing = [i for i in range(len(line.labels)) if len({other.labels[i] for other in others}) > 1]
    return ", ".join(line.labels[i] for i in differing)


def _ours(line: Line) -> Values:
    return line.values


def _paper(line: Line) -> Values:
    return line.paper or {}
