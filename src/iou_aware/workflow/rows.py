"""The commands ``runs`` and ``rows``: what an experiment trains, and what makes each row of its tables."""

from iou_aware.common.markdown import table as markdown_table
from iou_aware.data import released
from iou_aware.experiment.experiment import Experiment

HEADS = ["table", "row", "split", "rule", "recipe", "detector", "backbone", "runs"]


def print_runs(experiment: Experiment) -> None:
    """Print the names of an experiment's runs, one per line, to standard output."""
    print("\n".join(experiment.runs))


def print_rows(experiment: Experiment) -> None:
    """Print what makes every row of an experiment's tables to standard output, as a Markdown table."""
    paths, rows = experiment.paths, []
    for name, table in experiment.tables.items():
        for row in table.rows.values():
            run = experiment.run(row.runs[0])
            configs = [str(paths.detector(run.recipe, run.detector)), str(paths.backbone(run.backbone))]
            if run.is_released:  # with one config of both
                configs = [released.origin(paths.detector(run.recipe, run.detector), run.backbone), ""]
            rows.append([name, row.key, table.split, row.rule, run.recipe, *configs, ", ".join(row.runs)])
    print(markdown_table(HEADS, rows))
