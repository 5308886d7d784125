"""The commands ``runs`` and ``rows``: what an experiment trains, and what makes each row of its tables."""

from collections.abc import Iterable, Sequence

from iou_aware.data import zoo
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import Run
from iou_aware.experiment.table import Row

_HEADS = ["tables", "rows", "ranked by", "recipe", "detector config", "IoU loss", "backbone", "data and scale", "seeds"]
_LISTED = 3


def print_runs(experiment: Experiment) -> None:
    """Print the names of an experiment's runs, one per line, to standard output."""
    print("\n".join(experiment.runs))


def print_rows(experiment: Experiment, markdown: bool = False) -> None:
    """Print what makes every row of an experiment's tables to standard output: rule, recipe, config files, runs.

    Args:
        experiment: The study.
        markdown: As Markdown, rows that differ in rule or backbone alone on one line; else each alone, tab-separated.
    """
    if markdown:
        print(_markdown(experiment))
        return
    print("\t".join(["table", "row", "split", "rule", "recipe", "detector", "backbone", "runs"]))
    for name, table in experiment.tables.items():
        for row in table.rows.values():
            run = experiment.run(row.runs[0])
            values = [name, row.key, table.split, row.rule, run.recipe, *_configs(experiment, run), ", ".join(row.runs)]
            print("\t".join(values))


def _markdown(experiment: Experiment) -> str:
    """Return the rows as a table: what is alike within a table, and then what is alike in several, on one line."""
    tables: dict[tuple[str, ...], list[str]] = {}
    for table in experiment.tables.values():
        alike: dict[tuple[object, ...], list[Row]] = {}
        for row in table.rows.values():
            run = experiment.run(row.runs[0])
            fields = {name: value for name, value in run.as_dict().items() if name not in ("backbone", "seed")}
            alike.setdefault((*fields.values(), row.rule.kind, row.addition), []).append(row)
        for rows in alike.values():
            tables.setdefault(_line(experiment, rows), []).append(table.title.removeprefix("Table "))
    lines = [_HEADS, ["---"] * len(_HEADS), *([", ".join(names), *line] for line, names in tables.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(experiment: Experiment, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return what stands on the line of rows that are alike, but for the tables that have them."""
    runs = [experiment.run(row.runs[0]) for row in rows]
    run = runs[0]
    target = ", target with gradient" if run.target_grad else ""
    return (
        _listed(row.key for row in rows) + (", added" if rows[0].addition else ""),
        _listed(row.rule for row in rows),
        run.recipe,
        _listed(_configs(experiment, one)[0] for one in runs),
        "" if run.iou_loss is None else f"{run.iou_loss}{target}",
        _listed(one.backbone for one in runs),
        f"{run.dataset}, {run.scale}",
        "" if run.is_released else str(len(rows[0].runs)),
    )


def _listed(names: Iterable[str]) -> str:
    """Return different names as code, the first and the last of many."""
    code = [f"`{name}`" for name in dict.fromkeys(names)]
    return ", ".join(code) if len(code) <= _LISTED else f"{code[0]} to {code[-1]}"


def _configs(experiment: Experiment, run: Run) -> tuple[str, str]:
    """Return the configs of a run's detector and backbone; of released weights, the one that has both."""
    detector = experiment.paths.detector(run.recipe, run.detector)
    if run.is_released:
        return zoo.origin(detector, run.backbone), ""
    return str(detector), str(experiment.paths.backbone(run.backbone))
