"""The command line: one thin command per stage, each of which runs without Snakemake as well."""

import argparse
import contextlib
import io
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from iou_aware import __version__
from iou_aware.common import process
from iou_aware.common.errors import InputError, MachineError
from iou_aware.workflow import attempts, gpus

DESCRIPTION = """\
A reproduction of 'IoU-aware Single-stage Object Detector for Accurate
Localization'.

An experiment (EXPERIMENT) is a YAML in configs/experiments/, or its copy with
all changes applied, which Snakemake writes to
results/<experiment>/experiment.yaml. Run from the project's folder.
`snakemake` runs all stages in order; `iou-aware COMMAND --help` has an example
of each."""


class Stage(NamedTuple):
    """One command: what it is for, the function that does it, its arguments, an example of them on an experiment.

    One that computes on GPUs names the member of ``Needs`` that says how many: of a run where it takes one.
    """

    purpose: str
    function: str
    arguments: tuple[str, ...] = ()
    example: str = ""
    experiment: str = "micro"
    gpus: str = ""


_WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}

RUN = "micro-coco.retinanet.micro_r50.micro.72x72.seed0"
IOU_AWARE = "micro-coco.iou_aware_retinanet.micro_r50.bce.micro.72x72.seed0"

# In the order in which the data flow.
STAGES = {
    "prepare": Stage(
        "Bring a dataset into COCO form and write its manifest: counts, checksums, what is wrong with it.",
        "iou_aware.data.prepare:prepare",
        ("dataset",),
        "micro-voc",
    ),
    "backbone": Stage(
        "Fetch a backbone's ImageNet weights, for trainings on machines without a network.",
        "iou_aware.experiment.backbones:fetch",
        ("backbone",),
        "r50",
    ),
    "train": Stage(
        "Train one run. A training that was interrupted goes on where it stopped.",
        "iou_aware.training.train:train",
        ("run",),
        RUN,
        gpus="training_gpus",
    ),
    "release": Stage(
        "Fetch the weights of one run that are released and not trained (recipe zoo), and check what arrives.",
        "iou_aware.training.release:release",
        ("run",),
        "coco.retinanet.r50.zoo.1333x800.seed0",
        "paper",
    ),
    "predict": Stage(
        "Detect on one split: one forward pass for every confidence rule of the experiment.",
        "iou_aware.inference.predict:predict",
        ("run", "--split"),
        f"{RUN} --split val",
        gpus="testing_gpus",
    ),
    "evaluate": Stage(
        "Measure the AP of one run on one split, for every rule.",
        "iou_aware.evaluation.evaluate:evaluate",
        ("run", "--split"),
        f"{RUN} --split val",
    ),
    "export": Stage(
        "Write one rule's detections as COCO's results JSON, or in a zip as COCO's evaluation server took them.",
        "iou_aware.evaluation.export:export",
        ("run", "--split", "--rule", "--out"),
        f"{IOU_AWARE} --split val --rule alpha=0.50 --out detections.json",
    ),
    "bootstrap": Stage(
        "Draw a split's images again and again and measure every rule of one run on them: how sure its AP is.",
        "iou_aware.analysis.bootstrap.draw:resample",
        ("run", "--split"),
        f"{RUN} --split val",
    ),
    "collect": Stage("Gather all evaluations into metrics.csv.", "iou_aware.analysis.collect.collect:collect"),
    "table": Stage(
        "Write one table beside the paper's, as csv, md, tex and html.",
        "iou_aware.analysis.tables.write:write_table",
        ("table",),
        "table1",
    ),
    "figures": Stage("Draw the figures.", "iou_aware.analysis.figures.write:write_figures"),
    "premise": Stage(
        "Measure what confidence has to do with IoU: correlation, calibration, LRP; with figures.",
        "iou_aware.analysis.premise.measure:write_premise",
    ),
    "gallery": Stage(
        "Draw the images on which the rule changed the ranking most.", "iou_aware.analysis.gallery.draw:write_gallery"
    ),
    "claims": Stage(
        "Hold the paper's claims against metrics.csv: reproduced, contradicted, inconclusive or not run.",
        "iou_aware.analysis.claims.judge:write_claims",
    ),
    "notebook": Stage(
        "Execute one notebook of reports/ over the results, as a page with its code.",
        "iou_aware.analysis.report.notebook:write_notebook",
        ("notebook",),
        "alpha",
    ),
    "report": Stage(
        "Execute reports/report.ipynb into the page to read.", "iou_aware.analysis.report.notebook:write_report"
    ),
    "publish": Stage(
        "Write a page of the results for the documentation, docs/<experiment>.md, with its figures.",
        "iou_aware.analysis.report.docs_page:publish",
    ),
    "runs": Stage("List the experiment's runs.", "iou_aware.workflow.rows:print_runs"),
    "rows": Stage(
        "List every row of the tables: rule, recipe, config files, runs.",
        "iou_aware.workflow.rows:print_rows",
        ("--markdown",),
    ),
    "check": Stage(
        "Say whether this environment, and the GPUs that are here, can compute what the experiment asks for.",
        "iou_aware.training.device:check",
        experiment="paper",
    ),
    "plan": Stage(
        "Say what the experiment will take: jobs, GPU-hours, days, disk. Nothing is run.",
        "iou_aware.workflow.plan:print_plan",
        ("--gpus",),
        "--gpus 16",
    ),
    "times": Stage(
        "Say how long each stage took and how much memory it needed.", "iou_aware.analysis.times:print_times"
    ),
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "dataset": {"metavar": "DATASET", "help": "one of the experiment's datasets"},
    "backbone": {"metavar": "BACKBONE", "help": "a file of configs/backbones, without .py"},
    "run": {"metavar": "RUN", "help": "one of the experiment's runs; `iou-aware runs EXPERIMENT` lists them"},
    "table": {"metavar": "TABLE", "help": "one of the experiment's tables, such as table1"},
    "notebook": {"metavar": "NOTEBOOK", "help": "a file of reports/, without .ipynb"},
    "--markdown": {"action": "store_true", "help": "drawn together as docs/rows.md has it; else tab-separated"},
    "--gpus": {"metavar": "N", "type": int, "help": "say how long it takes on so many GPUs; without it, on several"},
    "--rule": {"metavar": "RULE", "required": True, "help": "one of the run's rules, such as alpha=0.50"},
    "--out": {
        "metavar": "FILE",
        "type": Path,
        "required": True,
        "help": "the .json to write, or detections_<test set>_<model>_results.zip",
    },
    "--split": {"metavar": "SPLIT", "required": True, "help": "a split of the run's dataset, such as val"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit status.

    It is 2 when the user gave something wrong, 1 for the machine, 75 for a training that was stopped and has saved.
    """
    options = vars(_parser().parse_args(arguments))
    logging.basicConfig(
        level=logging.DEBUG if options.pop("verbose") else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    del options["command"]
    process.keep_freed_memory()
    process.end_on_sigterm()
    try:
        options.pop("action")(**options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("iou-aware: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Who read the output, `head` say, has had enough. What is still unwritten must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (MachineError, OSError) as fault:
        logging.debug("where it happened:", exc_info=True)
        print(f"iou-aware: {fault}", file=sys.stderr)
        return 1
    except (InputError, ModuleNotFoundError) as fault:
        missing = isinstance(fault, ModuleNotFoundError)
        remedy = "; the environment of `make setup` has what the study needs" if missing else ""
        print(attempts.marked(f"iou-aware: {fault}{remedy}", attempts.WRONG_INPUT), file=sys.stderr)
        return attempts.WRONG_INPUT
    except SystemExit as end:
        print(attempts.marked("iou-aware: ended", end.code), file=sys.stderr)
        raise
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iou-aware", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_fetch(commands)
    for name, stage in STAGES.items():
        example = f"iou-aware {name} configs/experiments/{stage.experiment}.yaml {stage.example}".rstrip()
        command = _command(commands, name, stage.purpose, example)
        command.add_argument("experiment", metavar="EXPERIMENT", type=Path, help="the experiment's YAML")
        for argument in stage.arguments:
            command.add_argument(argument, **ARGUMENTS[argument])
        command.set_defaults(action=_action(stage))
    _add_compare(commands)
    _add_detect(commands)
    return parser


def _add_fetch(commands: Any) -> None:
    purpose = "Fetch a dataset from where its file says, verify it, extract it. An interrupted download goes on."
    command = _command(commands, "fetch", purpose, "iou-aware fetch bccd")
    command.add_argument("dataset", metavar="DATASET", help="a file of configs/datasets/, without .yaml")
    command.add_argument("--into", metavar="FOLDER", type=Path, help="where to put it, over the dataset file's root")
    command.add_argument("--keep-archives", action="store_true", help="keep what was downloaded after extracting it")
    command.set_defaults(action=_fetch)


def _fetch(dataset: str, into: Path | None, keep_archives: bool) -> None:
    from iou_aware.data.fetch import fetch

    fetch(Path(), dataset, into, keep_archives)


def _add_compare(commands: Any) -> None:
    purpose = "Compare two folders of results, or two runs and their rules: what changed, and how surely."
    example = f"iou-aware compare results/micro/runs/{RUN} results/micro/runs/{IOU_AWARE}@alpha=0.50"
    command = _command(commands, "compare", purpose, example)
    side = "results/EXPERIMENT, or results/EXPERIMENT/runs/RUN, with @RULE where it has more than one"
    command.add_argument("first", metavar="A", help=side)
    command.add_argument("second", metavar="B", help="the same")
    command.add_argument("--split", metavar="SPLIT", help="the split to compare runs on, if there are several")
    command.add_argument("--resamples", metavar="N", type=int, default=1000, help="draws for the intervals (1000)")
    command.set_defaults(action=_compare)


def _compare(first: str, second: str, split: str | None, resamples: int) -> None:
    from iou_aware.analysis.compare import compare

    compare(first, second, split, resamples)


def _add_detect(commands: Any) -> None:
    purpose = "Draw the boxes of a trained run on photographs of one's own."
    example = f"iou-aware detect photo.jpg --weights results/micro/runs/{IOU_AWARE} --rule alpha=0.50 --out drawn"
    command = _command(commands, "detect", purpose, example)
    command.add_argument("photos", metavar="PHOTO", type=Path, nargs="+", help="a picture, or a folder of pictures")
    trained = "a finished run: its folder, results/EXPERIMENT/runs/RUN, or the weights.pth there"
    command.add_argument("--weights", "--run", dest="run", metavar="RUN", type=Path, required=True, help=trained)
    by = "none, cls or alpha=A (alpha=0.50; cls for a detector that predicts no IoU)"
    command.add_argument("--rule", metavar="RULE", help=by)
    into = "where to write the pictures and detections.csv (detected)"
    command.add_argument("--out", metavar="FOLDER", type=Path, default=Path("detected"), help=into)
    command.add_argument("--least", metavar="C", type=float, default=0.5, help="least confidence to draw (0.5)")
    command.set_defaults(action=_detect)


def _detect(**values: Any) -> None:
    _function("iou_aware.inference.detect:detect")(**values)


def _command(commands: Any, name: str, purpose: str, example: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=purpose,
        description="\n".join(textwrap.wrap(purpose, 79)),
        # Names are long, and stay whole: to be copied, an example goes on after a backslash.
        epilog="example:\n  " + " \\\n    ".join(textwrap.wrap(example, 75, **_WHOLE)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--verbose", action="store_true", help="say more")
    return command


def _action(stage: Stage) -> Callable[..., None]:
    """Return what runs a stage; its module, which may be slow to import, is looked up only then."""

    def action(experiment: Path, **values: Any) -> None:
        from iou_aware.experiment.experiment import Experiment

        loaded = Experiment.load(experiment)
        names = [argument.lstrip("-") for argument in stage.arguments]
        checked = [_checked(loaded, name, values[name]) for name in names]
        if stage.gpus:
            _take_gpus(loaded, stage.gpus, checked[0])
        _function(stage.function)(loaded, *checked)

    return action


def _take_gpus(experiment: Any, needed: str, run: str) -> None:
    """Take the GPUs that a stage needs for a run; an experiment that asks for none by their number computes on one."""
    from iou_aware.workflow.needs import Needs

    on_cpu = experiment.settings.get("device") == "cpu"
    count = 0 if on_cpu else getattr(Needs(experiment), needed)
    gpus.take(0 if on_cpu else max(1, count(run) if callable(count) else count))


def _checked(experiment: Any, name: str, value: str) -> str:
    """Return a command's argument, or raise InputError when the experiment has nothing of that name."""
    from iou_aware.common.documents import one_of

    known = {
        "dataset": experiment.datasets,
        "backbone": sorted(file.stem for file in experiment.paths.backbone("any").parent.glob("*.py")),
        "run": experiment.runs,
        "table": experiment.tables,
        "notebook": experiment.paths.notebooks,
    }.get(name)
    if known is not None and value not in known:
        raise InputError(f"experiment {experiment.name} has no {name} {value!r}; expected {one_of(known, value)}")
    return value


def _function(place: str) -> Callable[..., None]:
    """Return the function that ``module:name`` names."""
    module, name = place.split(":")
    # MMDetection prints which optional packages it does without.
    with process.importing(), contextlib.redirect_stdout(io.StringIO()):
        function = getattr(import_module(module), name)
        if "mmdet" in sys.modules:
            import_module("mmdet.datasets")  # else on first use
    return function


if __name__ == "__main__":
    sys.exit(main())
