"""The command line: one thin command per stage, each of which runs without Snakemake as well."""

import argparse
import contextlib
import gc
import io
import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from iou_aware import __version__
from iou_aware.commands import ARGUMENTS, COMMANDS, Command
from iou_aware.common import process
from iou_aware.common.messages import WRONG_INPUT, InputError, MachineError, marked
from iou_aware.workflow import gpus

DESCRIPTION = (
    "A reproduction of 'IoU-aware Single-stage Object Detector for Accurate Localization', run from the project's "
    "folder. `snakemake` runs all stages in order. An EXPERIMENT is a YAML in configs/experiments/, or its copy with "
    "all changes applied, results/<experiment>/experiment.yaml. `iou-aware COMMAND --help` explains one command."
)


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
    process.keep_freed_memory()
    process.end_on_sigterm()
    try:
        process.cache_where_there_is_room()
        _carry_out(**options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("iou-aware: interrupted", file=sys.stderr)
        return 130
    except (MachineError, OSError) as fault:
        logging.debug("where it happened:", exc_info=True)
        print(f"iou-aware: {fault}", file=sys.stderr)
        return 1
    except (InputError, ModuleNotFoundError) as fault:
        missing = isinstance(fault, ModuleNotFoundError)
        remedy = "; the environment of `make setup` has what the study needs" if missing else ""
        print(marked(f"iou-aware: {fault}{remedy}", WRONG_INPUT), file=sys.stderr)
        return WRONG_INPUT
    except SystemExit as end:
        print(marked("iou-aware: ended", end.code), file=sys.stderr)
        raise
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iou-aware", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.purpose, description=command.purpose)
        one.add_argument("--verbose", action="store_true", help="say more")
        if command.on_experiment:
            one.add_argument("experiment", metavar="EXPERIMENT", type=Path, help="configs/experiments/NAME.yaml")
        for argument in command.arguments:
            flags, options = (argument, ARGUMENTS[argument]) if isinstance(argument, str) else argument
            one.add_argument(*flags.split(), **options)
        one.set_defaults(command=command)
    return parser


def _carry_out(command: Command, experiment: Path | None = None, **values: Any) -> None:
    """Call a command's function; its module, which may be slow to import, is imported only now.

    Raises:
        InputError: The experiment has no run, table or the like of the name that was given.
    """
    if experiment is None:
        _function(command.function)(**values)
        return
    from iou_aware.common.documents import names_beside, one_of
    from iou_aware.experiment.experiment import Experiment

    loaded = Experiment.load(experiment)
    known = {
        "dataset": loaded.datasets,
        "backbone": names_beside(loaded.paths.backbone("any")),
        "run": loaded.runs,
        "table": loaded.tables,
        "notebook": loaded.paths.notebooks,
    }
    for kind in known.keys() & values.keys():
        if (name := values[kind]) not in known[kind]:
            raise InputError(f"experiment {loaded.name} has no {kind} {name!r}; expected {one_of(known[kind], name)}")
    if command.gpus:  # as many as the run needs; where the experiment does not say how many, one
        from iou_aware.workflow.needs import Needs

        needed = max(1, getattr(Needs(loaded), command.gpus)(values["run"]))
        gpus.take(0 if loaded.settings.get("device") == "cpu" else needed)
    _function(command.function)(loaded, *values.values())  # in the order of the command's arguments


def prepare(experiment: Any, dataset: str) -> None:
    """Prepare one of an experiment's datasets."""
    _function("data.prepare:prepare")(experiment.root, dataset, experiment.roots)


def _function(place: str) -> Callable[..., None]:
    """Return the function that ``module:name`` names, the module below ``iou_aware``."""
    module, name = place.split(":")
    # MMDetection prints which optional packages are missing.
    with process.without_garbage_search(), contextlib.redirect_stdout(io.StringIO()):
        function = getattr(import_module(f"iou_aware.{module}"), name)
    gc.freeze()  # collections need not visit the modules, of which MMDetection has thousands
    return function


if __name__ == "__main__":
    sys.exit(main())
