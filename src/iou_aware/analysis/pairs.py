"""Which runs belong together: an IoU-aware run and the RetinaNet that was trained alike."""

from collections.abc import Container

from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import Run

BASELINE = "retinanet"


def matched_pairs(experiment: Experiment, known: Container[str]) -> list[tuple[str, str]]:
    """Return names of IoU-aware runs, each with its baseline, of those pairs that are both in ``known``."""
    baselines = {_shared(run): name for name, run in experiment.runs.items() if run.detector == BASELINE}
    pairs = [(name, baselines.get(_shared(run))) for name, run in experiment.runs.items() if run.is_iou_aware]
    return [(name, base) for name, base in pairs if base is not None and name in known and base in known]


def _shared(run: Run) -> tuple[str | int, ...]:
    return run.dataset, run.backbone, run.recipe, run.scale, run.seed


def run_title(experiment: Experiment, name: str, apart: str = ", ") -> str:
    """Return what tells a run from others of its kind; ``apart`` stands between its model and how it was trained."""
    run = experiment.runs[name]
    loss = f"{run.iou_loss}{' with target gradient' if run.target_grad else ''}, " if run.iou_loss else ""
    return f"{run.dataset}, {run.backbone}{apart}{loss}{run.scale}, seed {run.seed}"
