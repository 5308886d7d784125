"""What an experiment holds and what it will take, before it runs: the commands ``runs``, ``rows`` and ``plan``."""

import math

import numpy as np
from tabulate import tabulate

from iou_aware.common import markdown
from iou_aware.data import released
from iou_aware.experiment.experiment import Experiment
from iou_aware.workflow.costs import Estimates

UNKNOWN = "?"
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
    print(markdown.table(HEADS, rows))


def print_plan(experiment: Experiment) -> None:
    """Print what an experiment takes to standard output.

    Raises:
        InputError: ``configs/costs.yaml`` is at fault, or does not tell how many GPUs a training needs.
    """
    estimates = Estimates(experiment)
    print("\n".join([*run_lines(estimates), "", *summary_lines(estimates)]))


def run_lines(estimates: Estimates) -> list[str]:
    """Return the table of runs: GPUs, images per step, epochs, hours, GPU-hours."""
    rows = [["run", "GPUs", "images/step", "epochs", "training", "GPU-hours"]]
    runs = estimates.experiment.runs
    for name, run in runs.items():
        if run.is_released:
            training = ["", "", "", "fetched"]
        else:
            gpus = estimates.gpus(run)
            length = duration(estimates.training_hours(run) / gpus)
            training = [str(gpus), str(estimates.images_per_step(run)), str(estimates.epochs(run)), length]
        rows.append([name, *training, _number(estimates.gpu_hours(run))])
    rows.append([f"{len(runs)} runs", "", "", "", "", _number(np.nansum([*map(estimates.gpu_hours, runs.values())]))])
    align = ("left", *["right"] * (len(rows[0]) - 1))
    return tabulate(rows, tablefmt="plain", disable_numparse=True, colalign=align).splitlines()


def summary_lines(estimates: Estimates) -> list[str]:
    """Return the days that the experiment takes on how many GPUs, and the source of the numbers."""
    costs, hours = estimates.costs, [estimates.gpu_hours(run) for run in estimates.experiment.runs.values()]
    lines = []
    if unknown := sum(map(math.isnan, hours)):
        lines.append(
            f"No estimate for {unknown} runs ({UNKNOWN}): configs/costs.yaml has no measurement of their detector and "
            "backbone, or their dataset is not prepared, so that its number of images is unknown."
        )
    if unknown < len(hours):
        for number in _numbers_of_gpus(estimates):
            lines.append(
                f"On {number} GPU{'s' if number > 1 else ''}: at least {duration(wall_hours(estimates, number))}."
            )
        gpu, speed, total = costs["gpu"], estimates.gpu["speed"], np.nansum(hours)
        others = (f"{total * speed / one['speed']:.0f} of {name}" for name, one in costs["gpus"].items() if name != gpu)
        lines.append(f"The GPU-hours are of {gpu} (gpu); on others: {', '.join(others)}.")
        lines.append(
            f"From: {costs['source']}; measured on {costs['measured']['gpu']}, taken as proportional to images and "
            f"pixels. A {gpu} is taken as {speed:g} times as fast: {estimates.gpu['source']} (configs/costs.yaml)."
        )
    return lines


def wall_hours(estimates: Estimates, gpus: int) -> float:
    """Return the least hours that all runs take on ``gpus`` GPUs: GPU-hours over GPUs, or those of the longest run.

    A run is tested on one GPU once it is trained. Runs without an estimate are left out.
    """
    runs = estimates.experiment.runs.values()
    training, both = (np.array([*map(hours, runs)]) for hours in (estimates.training_hours, estimates.gpu_hours))
    widths = [1 if run.is_released else estimates.gpus(run) for run in runs]
    return max(np.nansum(both) / gpus, *np.nan_to_num(training / widths + both - training))


def duration(hours: float) -> str:
    """Return hours as ``45 min``, ``7.5 h`` or ``3.2 days``; ``?`` for NaN."""
    if math.isnan(hours):
        return UNKNOWN
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _numbers_of_gpus(estimates: Estimates) -> list[int]:
    """Return numbers of GPUs by doubling, from those of one training until more do not help."""
    numbers = [estimates.most_gpus]
    while wall_hours(estimates, numbers[-1] * 2) < 0.99 * wall_hours(estimates, numbers[-1]):
        numbers.append(numbers[-1] * 2)
    return numbers


def _number(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.1f}"
