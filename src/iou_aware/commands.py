"""The commands of the command line, as data: what each is for, which function does it, with which arguments."""

from pathlib import Path
from typing import Any, NamedTuple


class Command(NamedTuple):
    """One command: what it is for, the function that does it, and its arguments.

    ``function`` is ``module:name``, the module below ``iou_aware``. An argument is a name of ``ARGUMENTS``, or a name
    or flags with their options for argparse. ``on_experiment`` says whether an experiment comes first. ``gpus`` is the
    method of ``Needs`` that returns how many GPUs its run needs; empty for a command without GPUs.
    """

    purpose: str
    function: str
    arguments: tuple[str | tuple[str, dict[str, Any]], ...] = ()
    on_experiment: bool = True
    gpus: str = ""


_SIDES = "COCO results files, or runs: results/EXPERIMENT/runs/RUN, with @RULE"
_TRAINED = "a finished run: its folder, results/EXPERIMENT/runs/RUN, or the weights.pth there"
_DRAWN = "where to write the pictures and detections.csv (detected)"

# In the order in which the data flow.
COMMANDS = {
    "fetch": Command(
        "Fetch a dataset from the addresses in its file, verify and extract it. Interrupted downloads resume.",
        "data.fetch:fetch",
        (
            ("name", {"metavar": "DATASET", "help": "a file of configs/datasets/, without .yaml"}),
            ("--into", {"dest": "folder", "metavar": "FOLDER", "help": "where to put it, over its file's root"}),
        ),
        on_experiment=False,
    ),
    "prepare": Command(
        "Convert a dataset to COCO's format and write its manifest: counts, checksums, faults.",
        "cli:prepare",
        ("dataset",),
    ),
    "backbone": Command(
        "Fetch a backbone's ImageNet weights, for trainings on machines without a network.",
        "experiment.backbones:fetch",
        ("backbone",),
    ),
    "pretrain": Command(
        "Pretrain a backbone on drawn shapes, where its config says so.", "pretraining:pretrain", ("backbone",)
    ),
    "train": Command(
        "Train one run. An interrupted training resumes.", "training.train:train", ("run",), gpus="training_gpus"
    ),
    "release": Command(
        "Fetch the released weights of one run that is not trained (recipe zoo), and check them.",
        "training.release:release",
        ("run",),
    ),
    "predict": Command(
        "Detect on one split: one forward pass for every confidence rule of the experiment.",
        "inference.predict:predict",
        ("run", "--split"),
        gpus="testing_gpus",
    ),
    "evaluate": Command(
        "Measure the AP of one run on one split, for every rule.", "evaluation.evaluate:evaluate", ("run", "--split")
    ),
    "export": Command(
        "Write one rule's detections as COCO's results JSON.",
        "evaluation.export:export",
        ("run", "--split", "--rule", "--out"),
    ),
    "bootstrap": Command(
        "Resample a split's images and measure every rule of one run on each resample: how sure its AP is.",
        "analysis.bootstrap.resamples:resample",
        ("run", "--split"),
    ),
    "collect": Command("Gather all evaluations into metrics.csv.", "analysis.collect.collect:collect"),
    "table": Command(
        "Write one table beside the paper's, as csv, md, tex and html.", "analysis.tables.write:write_table", ("table",)
    ),
    "figures": Command("Draw the figures.", "analysis.figures.write:write_figures"),
    "premise": Command(
        "Measure what confidence has to do with IoU: correlation, calibration, LRP; with figures.",
        "analysis.premise.measure:write_premise",
    ),
    "gallery": Command(
        "Draw the images on which the rule changed the ranking most.", "analysis.gallery.draw:write_gallery"
    ),
    "claims": Command(
        "Judge the paper's claims by metrics.csv: reproduced, contradicted, inconclusive or not run.",
        "analysis.claims.claims:write_claims",
    ),
    "notebook": Command(
        "Execute one notebook of reports/ over the results, as a page with its code.",
        "analysis.report.notebook:write_notebook",
        ("notebook",),
    ),
    "report": Command("Execute reports/report.ipynb into the page to read.", "analysis.report.notebook:write_notebook"),
    "docs": Command(
        "Write the documentation's pages of results: docs/<experiment>.md, and details in docs/<experiment>/.",
        "analysis.report.docs:write_docs",
    ),
    "runs": Command("List the experiment's runs.", "workflow.plan:print_runs"),
    "rows": Command("List every row of the tables: rule, recipe, config files, runs.", "workflow.plan:print_rows"),
    "check": Command(
        "Check that this environment and this machine's GPUs can run the experiment.", "training.device:check"
    ),
    "plan": Command("Estimate what the experiment takes: GPU-hours, days. Nothing is run.", "workflow.plan:print_plan"),
    "times": Command("Print how long each stage took and how much memory it needed.", "analysis.times:print_times"),
    "compare": Command(
        "Compare detections with the first of them: results files of any framework, or runs.",
        "analysis.compare.compare:compare",
        (
            ("sides", {"metavar": "DETECTIONS", "nargs": "+", "help": _SIDES}),
            ("--annotations", {"metavar": "JSON", "type": Path, "help": "COCO's annotations, for results files"}),
            ("--images", {"metavar": "FOLDER", "type": Path, "help": "their images, to draw those that decide"}),
            ("--into", {"metavar": "FOLDER", "type": Path, "help": "where to write CSV, HTML and pictures"}),
            ("--split", {"help": "the split to compare runs on, if there are several"}),
        ),
        on_experiment=False,
    ),
    "detect": Command(
        "Draw the boxes of a trained run on your own photographs.",
        "inference.detect:detect",
        (
            ("photos", {"metavar": "PHOTO", "type": Path, "nargs": "+", "help": "a picture, or a folder of pictures"}),
            ("--weights --run", {"dest": "run", "metavar": "RUN", "type": Path, "required": True, "help": _TRAINED}),
            ("--rule", {"help": "none, cls or alpha=A (alpha=0.50; cls where no IoU is predicted)"}),
            ("--out", {"metavar": "FOLDER", "type": Path, "default": Path("detected"), "help": _DRAWN}),
            ("--least", {"metavar": "C", "type": float, "default": 0.5, "help": "least confidence to draw (0.5)"}),
        ),
        on_experiment=False,
    ),
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "dataset": {"metavar": "DATASET", "help": "one of the experiment's datasets"},
    "backbone": {"metavar": "BACKBONE", "help": "a file of configs/backbones, without .py"},
    "run": {"metavar": "RUN", "help": "one of the experiment's runs; `iou-aware runs EXPERIMENT` lists them"},
    "table": {"metavar": "TABLE", "help": "one of the experiment's tables, such as table1"},
    "notebook": {"metavar": "NOTEBOOK", "help": "a file of reports/, without .ipynb"},
    "--rule": {"required": True, "help": "one of the run's rules, such as alpha=0.50"},
    "--out": {"metavar": "FILE", "type": Path, "required": True, "help": "the JSON to write"},
    "--split": {"required": True, "help": "a split of the run's dataset, such as val"},
}
