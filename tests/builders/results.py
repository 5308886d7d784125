"""A project folder for tests of the study: a small experiment, and evaluations shaped like the paper's numbers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from builders.data import describe, put
from builders.experiments import with_a_table

from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.tables.write import write_table
from iou_aware.common import seal
from iou_aware.evaluation.resampled import METRICS
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import Run

REPORTS = Path(__file__).parents[2] / "reports"
RULES = ["none", *(f"alpha={tenths / 10:.2f}" for tenths in range(10, -1, -1))]
COCO_RUN = {"dataset": "shapes", "scale": "96x96"}
SMALL_RUN = {"dataset": "shapes", "scale": "72x72", "backbone": "tiny"}
IOU_AWARE = {"detector": "iou_aware_retinanet", "iou_loss": "bce"}
# Two runs of the study, the second the baseline of the first.
AWARE = "shapes.iou_aware_retinanet.tiny.bce.quick.72x72.seed0"
BASELINE = "shapes.retinanet.tiny.quick.72x72.seed0"
BACKBONES = {"r50": "tiny", "r101": "deep", "x101": "grouped"}
CLASSES = ("red_cell", "bar")
HISTORY = [(1, 10, 0.9, 0.5, 0.4), (1, 20, 0.8, 0.4, 0.4), (2, 30, 0.7, 0.4, 0.3), (2, 40, 0.6, 0.3, 0.3)]
SHIFT = 4.0  # how far below the paper's values ours are made up to be


def experiment(folder: Path, name: str = "study", **changes) -> Experiment:
    """Write a project with one experiment below ``folder`` and load it; ``changes`` replace top-level keys.

    For ``tables={}`` it has one of its first run.
    """
    for dataset, split in [("shapes", "val"), ("marks", "test")]:
        splits = {split: {"annotations": f"{split}.json", "images": split}}
        describe(folder, dataset, layout="coco", splits=splits, train=split, evaluate=[split])
    for detector in ("faster_rcnn", "retinanet", "iou_aware_retinanet"):
        put(folder / "configs" / "detectors" / "quick" / f"{detector}.py", "")
    for backbone in BACKBONES.values():
        put(folder / "configs" / "backbones" / f"{backbone}.py", "")
    put(folder / "configs" / "schedules" / "quick.py", "")
    shutil.copytree(REPORTS, folder / "reports", dirs_exist_ok=True)
    backbones = list(BACKBONES.values())
    content = {
        "experiment": name,
        "title": "A study for tests",
        "comparison": "pattern",
        "defaults": {"recipe": "quick", "seed": 0, "target_grad": False},
        "rules": RULES,
        "runs": [
            COCO_RUN | {"detector": ["faster_rcnn", "retinanet"], "backbone": backbones},
            COCO_RUN | IOU_AWARE | {"backbone": backbones},
            SMALL_RUN | {"detector": "retinanet"},
            SMALL_RUN | IOU_AWARE | {"iou_loss": ["l2", "bce", "l1"]},
            SMALL_RUN | {"dataset": "marks", "backbone": backbones[:2], "detector": "retinanet"},
            SMALL_RUN | IOU_AWARE | {"dataset": "marks", "backbone": backbones[:2]},
        ],
        "tables": tables(),
    } | changes
    split = "test" if content["runs"][0].get("dataset") == "marks" else "val"
    text = yaml.safe_dump(with_a_table(content, split), sort_keys=False)
    return Experiment.load(put(folder / "configs" / "experiments" / f"{name}.yaml", text))


def tables() -> dict:
    """Return the paper's five tables, as an experiment asks for them."""
    ours = IOU_AWARE | {"rule": "alpha=0.50"}
    alphas = {f"alpha_{tenths / 10:.1f}": ours | {"rule": f"alpha={tenths / 10:.2f}"} for tenths in range(10, -1, -1)}
    base = {"detector": "retinanet"}
    losses = {loss: ours | {"iou_loss": loss, "rule": "none"} for loss in ("l2", "bce", "l1")}
    losses["l1"] |= {"label": "L1 loss", "addition": True}
    sweep = {"baseline": base, "none": ours | {"rule": "none"}, **alphas}
    models = {"faster_rcnn": {"detector": "faster_rcnn"}, "retinanet": base, "iou_aware": ours}
    pairs = {f"{model}_{key}": row | {"backbone": BACKBONES[key]} for model, row in models.items() for key in BACKBONES}
    voc = {key: row for key, row in pairs.items() if not key.startswith("faster") and not key.endswith("x101")}
    return {
        "table1": _table(1, "Other methods.", "val", COCO_RUN, pairs),
        "table2": _table(2, "IoU losses.", "val", SMALL_RUN, {"baseline": base, **losses}),
        "table3": _table(3, "Alpha and AP by size.", "val", SMALL_RUN, sweep),
        "table4": _table(4, "Alpha and AP by IoU threshold.", "val", SMALL_RUN, sweep),
        "table5": _table(5, "VOC.", "test", {"dataset": "marks", "scale": "72x72"}, voc),
    }


def _table(number: int, caption: str, split: str, select: dict, rows: dict) -> dict:
    return {"paper": f"table{number}", "caption": caption, "split": split, "select": select, "rows": rows}


def own_table(rows: dict, **changes) -> dict:
    """Return a table that the paper does not have, of the runs at 72x72."""
    return {"caption": "Ours.", "split": "val", "columns": ["AP"], "select": SMALL_RUN, "rows": rows} | changes


def by_run(metrics: Callable[[Run, str], dict[str, float]]) -> Callable[[Experiment], dict]:
    """Return values for ``finished``: the metrics of each run and rule."""
    return lambda study: {
        (name, rule): metrics(run, rule) for name, run in study.runs.items() for rule in study.rules_for(run)
    }


def paper_shaped(study: Experiment) -> dict[tuple[str, str], dict[str, float]]:
    """Return made-up metrics by run and rule: the paper's values of the rows that show them, less ``SHIFT``."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    for table in study.tables.values():
        printed = pd.read_csv(study.paths.paper(table.paper), index_col="row").filter(like="AP")
        for key, row in table.rows.items():
            metrics = (printed.loc[key if key in printed.index else "l2"] - SHIFT).clip(lower=0.01)
            for run in row.runs:
                values.setdefault((run, row.rule), {}).update(metrics)
    return values


def write_results(study: Experiment, values: dict[tuple[str, str], dict[str, float]], classes=CLASSES) -> None:
    """Write a ``run.json`` per run, and an evaluation per split, which ``collect`` reads."""
    for name, run in study.runs.items():
        rules = {rule: values.get((name, rule), {"AP": 1.0}) for rule in study.rules_for(run)}
        write_run(study, name)
        for split in study.splits_for(run):
            write_evaluation(study, name, split, rules, classes)


def write_run(study: Experiment, name: str, **changes) -> None:
    """Write the record of a finished training and its losses; ``changes`` replace what the record says."""
    content = {
        "run": study.runs[name].as_dict(),
        "config_sha256": "c" * 64,
        "weights_sha256": "w" * 64,
        "seconds": 61.5,
        "cpu_seconds": 75.0,
        "device": "cpu",
        "epochs": 8,
        "losses": {"loss_cls": 0.25},
        "provenance": {"git_commit": "abc", "torch": "2.13.0", "mmdet": "3.5.1", "mmcv": "2.3.6"},
    }
    put(study.paths.seal(name), json.dumps(content | changes))
    iou = study.runs[name].is_iou_aware
    lines = ["epoch,iteration,lr,loss,loss_cls,loss_bbox" + ",loss_iou" * iou]
    lines += [",".join(map(str, [row[0], row[1], 0.003, *row[2:], *[0.2] * iou])) for row in HISTORY]
    put(study.paths.history(name), "\n".join(lines) + "\n")


def write_sealed_run(study: Experiment, name: str) -> str:
    """Write a finished training with its files, sealed; return the checksum of its weights."""
    write_run(study, name)
    for file in seal.SEALED:
        study.paths.run_folder(name).joinpath(file).write_text(f"epoch,iteration,loss,{file}\n1,1,2.5,0\n")
    record = json.loads(study.paths.seal(name).read_text())
    return seal.write(study.paths.run_folder(name), record)["weights_sha256"]


def write_evaluation(study, name, split, rules: dict[str, dict[str, float]], classes=CLASSES) -> None:
    """Write one evaluation; every class gets the metrics of the whole."""
    content = {
        "run": name,
        "dataset": study.runs[name].dataset,
        "split": split,
        "rules": {
            rule: {"metrics": metrics, "per_class": dict.fromkeys(classes, metrics)} for rule, metrics in rules.items()
        },
        "provenance": {"weights_sha256": "w" * 64, "images": 20, "boxes": 50},
    }
    put(study.paths.evaluation(name, split), json.dumps(content))


def finished(folder: Path, values: Callable[[Experiment], dict] = paper_shaped, **changes) -> Experiment:
    """Return a study whose every evaluation is there and collected; ``values`` returns what they are."""
    study = experiment(folder, **changes)
    write_results(study, values(study))
    collect(study)
    return study


def spread(study: Experiment, run: str, width: float, weights: str = "w") -> None:
    """Write resamples of a run, for all of its rules, whose 95 % interval is ``width`` points about each value.

    Each rule falls and rises for itself.
    """
    metrics = pd.read_csv(study.paths.metrics).set_index(["run", "rule"]).loc[run]
    normal = np.random.default_rng(0).normal(0, width / 3.92, (len(metrics), 1000))
    frames = [
        {"rule": [rule] * 1000} | {metric: row.get(metric, np.nan) + normal[place] for metric in METRICS}
        for place, (rule, row) in enumerate(metrics.iterrows())
    ]
    about = {"weights_sha256": weights * 64, "annotations_sha256": "a", "resamples": 1000, "seed": 0, "images": 20}
    table = pa.concat_tables([pa.table(frame) for frame in frames])
    path = study.paths.bootstrap(run, "val")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"provenance": json.dumps(about)}), path)


def written_table(study: Experiment, name: str) -> pd.DataFrame:
    """Write a table and return its CSV by row and metric, without the lines of single classes."""
    write_table(study, name)
    lines = pd.read_csv(study.paths.table(name, "csv"), dtype={"α": str, "runs": str}).query("`class`.isna()")
    return lines.set_index(["row", "metric"])


def text(study: Experiment, table: str, suffix: str) -> str:
    """Return a table that was written."""
    return study.paths.table(table, suffix).read_text()


def cells(markdown: str) -> list[list[str]]:
    """Return the cells of every line of Markdown's tables."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def md_rows(study: Experiment, table: str) -> list[list[str]]:
    """Return the cells of a Markdown table in the paper's layout, its heading and rule included."""
    return cells(text(study, table, "md").partition("<details>")[0])
