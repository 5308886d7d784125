"""The command ``runs``: what an experiment trains."""

from iou_aware.study.experiment import Experiment


def print_runs(experiment: Experiment) -> None:
    """Print the names of an experiment's runs, one per line, to standard output."""
    print("\n".join(experiment.runs))
