"""The commands ``runs`` and ``rows``: what an experiment trains, and what makes each row of its tables."""

from iou_aware.study.experiment import Experiment


def print_runs(experiment: Experiment) -> None:
    """Print the names of an experiment's runs, one per line, to standard output."""
    print("\n".join(experiment.runs))


def print_rows(experiment: Experiment) -> None:
    """Print what makes every row of an experiment's tables: rule, recipe, config files, runs; tab-separated."""
    print("\t".join(["table", "row", "split", "rule", "recipe", "detector", "backbone", "runs"]))
    for name, table in experiment.tables.items():
        for row in table.rows.values():
            run = experiment.run(row.runs[0])
            configs = (experiment.paths.detector(run.recipe, run.detector), experiment.paths.backbone(run.backbone))
            values = [name, row.key, table.split, row.rule, run.recipe, *map(str, configs), ", ".join(row.runs)]
            print("\t".join(values))
