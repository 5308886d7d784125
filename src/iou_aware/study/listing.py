"""The commands ``runs`` and ``rows``: what an experiment trains, and what makes each row of its tables."""

from iou_aware.data import zoo
from iou_aware.study.experiment import Experiment
from iou_aware.study.run import Run


def print_runs(experiment: Experiment) -> None:
    """Print the names of an experiment's runs, one per line, to standard output."""
    print("\n".join(experiment.runs))


def print_rows(experiment: Experiment) -> None:
    """Print what makes every row of an experiment's tables: rule, recipe, config files, runs; tab-separated."""
    print("\t".join(["table", "row", "split", "rule", "recipe", "detector", "backbone", "runs"]))
    for name, table in experiment.tables.items():
        for row in table.rows.values():
            run = experiment.run(row.runs[0])
            values = [name, row.key, table.split, row.rule, run.recipe, *_configs(experiment, run), ", ".join(row.runs)]
            print("\t".join(values))


def _configs(experiment: Experiment, run: Run) -> tuple[str, str]:
    """Return the configs of a run's detector and backbone; of released weights, the one that has both."""
    detector = experiment.paths.detector(run.recipe, run.detector)
    if run.is_released:
        return zoo.origin(detector, run.backbone), ""
    return str(detector), str(experiment.paths.backbone(run.backbone))
