"""The stage ``figures``: alpha, gains and training curves as SVG, with the paper's values where it has them."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from iou_aware.analysis import style
from iou_aware.analysis.figures import gains
from iou_aware.analysis.figures.panels import panels
from iou_aware.analysis.figures.premise import draw_premise
from iou_aware.analysis.figures.training import draw_training
from iou_aware.experiment.experiment import Experiment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)


def write_figures(experiment: Experiment) -> list[Path]:
    """Draw what an experiment's results allow into ``results/<experiment>/figures`` and return the paths.

    ``alpha`` and ``alpha_gain`` (for every table that sweeps alpha), ``oracle`` (for one that has an oracle beside it),
    ``gain_per_threshold``, ``gain_per_size``, ``gain_per_class``, the ``premise_...`` and
    ``training_<dataset>_<scale>``. What an earlier call drew and this one does not is removed.

    Raises:
        InputError: ``metrics.csv``, a table of the paper or a training history is malformed.
    """
    folder = experiment.paths.figures
    folder.mkdir(parents=True, exist_ok=True)
    with style.styled():
        # One after the other: an open figure takes memory, and of more than twenty matplotlib complains.
        paths = [style.save(figure, folder / f"{name}.svg") for name, figure in _drawn(experiment)]
    for old in set(folder.glob("*.svg")) - set(paths):
        old.unlink()
    logger.info("%d figures in %s", len(paths), folder)
    return paths


def _drawn(experiment: Experiment) -> Iterable[tuple[str, "Figure"]]:
    yield from gains.drawings([panel for panel in panels(experiment) if panel.series])
    yield from draw_premise(experiment.paths.premise, experiment.runs, experiment.rules).items()
    yield from draw_training({run: experiment.paths.history(name) for name, run in experiment.runs.items()}).items()
