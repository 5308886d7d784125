"""The commands ``runs`` and ``rows``: what an experiment trains, and what makes each row of its tables."""

from iou_aware.common.markdown import table as markdown_table
from iou_aware.data import released
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import Run

HEADS = ["table", "row", "split", "rule", "recipe", "detector", "backbone", "runs"]


def print_runs(experiment: Experiment) -> None:
    """Print the names of an experiment's runs, one per line, to standard output."""
    print("\n".join(experiment.runs))


def print_rows(experiment: Experiment) -> None:
    """Print what makes every row of an experiment's tables to standard output, as a Markdown table."""
    rows = []
    for name, table in experiment.tables.items():
        for row in table.rows.values():
            run = experiment.run(row.runs[0])
            configs = _configs(experiment.paths, run)
            rows.append([name, row.key, table.split, row.rule, run.recipe, *configs, ", ".join(row.runs)])
    print(markdown_table(HEADS, rows))


def _configs(paths: Layout, run: Run) -> tuple[str, str]:
    """Return the configs of a run's detector and backbone; of released weights, the one that has both."""
    detector = paths.detector(run.recipe, run.detector)
    if run.is_released:
        return released.origin(detector, run.backbone), ""
    return str(detector), str(paths.backbone(run.backbone))
