"""The commands ``runs`` and ``rows``: what an experiment trains, and what makes each row of its tables."""

from collections.abc import Iterable, Mapping, Sequence

from iou_aware.common.markdown import table as markdown_table
from iou_aware.data import released
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import Run
from iou_aware.experiment.table import Row, Table

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
        print(_markdown(experiment.paths, experiment.runs, experiment.tables.values()))
        return
    print("\t".join(["table", "row", "split", "rule", "recipe", "detector", "backbone", "runs"]))
    for name, table in experiment.tables.items():
        for row in table.rows.values():
            run = experiment.run(row.runs[0])
            configs = _configs(experiment.paths, run)
            values = [name, row.key, table.split, row.rule, run.recipe, *configs, ", ".join(row.runs)]
            print("\t".join(values))


def _markdown(paths: Layout, runs: Mapping[str, Run], tables: Iterable[Table]) -> str:
    """Return the rows as a table: what is alike within a table, and then what is alike in several, on one line."""
    titles: dict[tuple[str, ...], list[str]] = {}
    for table in tables:
        alike: dict[tuple[object, ...], list[Row]] = {}
        for row in table.rows.values():
            run = runs[row.runs[0]]
            fields = {name: value for name, value in run.as_dict().items() if name not in ("backbone", "seed")}
            alike.setdefault((*fields.values(), row.rule.kind, row.addition), []).append(row)
        for rows in alike.values():
            line = _line(paths, [runs[row.runs[0]] for row in rows], rows)
            titles.setdefault(line, []).append(table.title.removeprefix("Table "))
    return markdown_table(_HEADS, ([", ".join(names), *line] for line, names in titles.items()))


def _line(paths: Layout, runs: Sequence[Run], rows: Sequence[Row]) -> tuple[str, ...]:
    """Return what stands on the line of rows that are alike, each with its first run, but for their tables."""
    run = runs[0]
    target = ", target with gradient" if run.target_grad else ""
    return (
        _listed(row.key for row in rows) + (", added" if rows[0].addition else ""),
        _listed(row.rule for row in rows),
        run.recipe,
        _listed(_configs(paths, one)[0] for one in runs),
        "" if run.iou_loss is None else f"{run.iou_loss}{target}",
        _listed(one.backbone for one in runs),
        f"{run.dataset}, {run.scale}",
        "" if run.is_released else str(len(rows[0].runs)),
    )


def _listed(names: Iterable[str]) -> str:
    """Return different names as code, the first and the last of many."""
    code = [f"`{name}`" for name in dict.fromkeys(names)]
    return ", ".join(code) if len(code) <= _LISTED else f"{code[0]} to {code[-1]}"


def _configs(paths: Layout, run: Run) -> tuple[str, str]:
    """Return the configs of a run's detector and backbone; of released weights, the one that has both."""
    detector = paths.detector(run.recipe, run.detector)
    if run.is_released:
        return released.origin(detector, run.backbone), ""
    return str(detector), str(paths.backbone(run.backbone))
