"""The stage ``figures``: alpha, gains and training curves as SVG, with the paper's values where it has them."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from iou_aware.analysis import style
from iou_aware.analysis.figures.gains import draw_gains
from iou_aware.analysis.figures.panels import read_panels
from iou_aware.analysis.figures.premise import draw_premise
from iou_aware.analysis.figures.training import draw_training
from iou_aware.analysis.uncertainty.quantity import Measurements
from iou_aware.common.files import write_bytes
from iou_aware.common.messages import log
from iou_aware.experiment.experiment import Experiment


def write_figures(experiment: Experiment) -> list[Path]:
    """Draw what an experiment's results allow into ``results/<experiment>/figures`` and return the paths.

    ``captions.FIGURES`` lists the figures. What an earlier call drew and this one does not is removed.

    Raises:
        InputError: ``metrics.csv``, ``claims.yaml``, a table of the paper or a training history is malformed, or
            resamples are of other weights.
    """
    folder = experiment.paths.figures
    folder.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")
    paths = []
    with style.styled():
        # One after the other: an open figure takes memory, and of more than twenty matplotlib complains.
        for name, figure in _drawn(experiment):
            paths.append(folder / f"{name}.svg")
            write_bytes(paths[-1], style.svg(figure, name))
    for old in set(folder.glob("*.svg")) - set(paths):
        old.unlink()
    log.info("%d figures in %s", len(paths), folder)
    return paths


def _drawn(experiment: Experiment) -> Iterable[tuple[str, Figure]]:
    paths, runs = experiment.paths, experiment.runs
    measurements = Measurements(experiment)
    outer = style.TRAININGS[any(dataset.folds for dataset in experiment.datasets.values())]
    yield from draw_gains(read_panels(experiment, measurements), outer)
    yield from draw_premise(paths.premise, runs, experiment.rules, measurements, outer)
    yield from draw_training({run: paths.history(name) for name, run in runs.items()})
