"""The miniature study per stage, from the benchmark files that Snakemake wrote for it. Nothing is run here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timing import absent, given

from iou_aware.analysis.times import costs
from iou_aware.common.messages import InputError
from iou_aware.experiment.experiment import Experiment

EXPERIMENT = Path(__file__).parents[1] / "configs" / "experiments" / "micro.yaml"


def entries(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield an entry per stage: the time in which at least one of its jobs ran."""
    try:
        stages = costs(Experiment.load(str(EXPERIMENT)))["Stage"]
    except InputError:
        yield absent("miniature study per stage", "not there: `make reproduce` writes results/micro/benchmarks")
        return
    for cost in stages.itertuples():
        what = f"{cost.jobs} jobs, {cost.cpu:.0f} s of CPU time, {cost.peak:.0f} MiB at most in one"
        yield given(f"miniature study, {cost.Index}", what, [cost.wall], "s")
