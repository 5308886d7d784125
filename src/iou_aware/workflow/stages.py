"""What the Snakefile asks of an experiment: files as inputs, values as parameters, the code of a stage."""

import ast
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from iou_aware.common import assignments, documents
from iou_aware.common.documents import NAME
from iou_aware.common.messages import InputError
from iou_aware.data import released
from iou_aware.experiment import backbones
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import RELEASED, Run

# A run's name: names joined by dots.
RUN = rf"{NAME.pattern}(?:\.{NAME.pattern})*"
# Patterns for names of runs, which end in recipe, scale and seed; Snakemake matches them against folders.
RELEASED_RUN = rf"[^/]+\.{RELEASED}\.[^./]+\.seed\d+"
TRAINED_RUN = rf"(?!{RELEASED_RUN}/)[^/]+"
_PACKAGE = Path(__file__).parents[1]


def load(files: Sequence[str | Path], config: Mapping[str, Any]) -> Experiment:
    """Return the experiment that Snakemake was asked to run.

    Args:
        files: Snakemake's configuration files; the last one is the experiment, and errors name its lines.
        config: Snakemake's merge of them and of ``--config``.

    Raises:
        InputError: no configuration file, or the experiment or the name of a folder is at fault.
    """
    if not {"{", "}"}.isdisjoint(str(Path.cwd())):
        raise InputError(f"{Path.cwd()}: Snakemake takes braces in a path for wildcards; expected none. Rename it.")
    if not files:
        raise InputError("no experiment was given; expected --configfile configs/experiments/<name>.yaml")
    return Experiment.load(files[-1], _typed(config, documents.read(files[-1]).content))


def _typed(value: Any, written: Any) -> Any:
    """Return a value with the types of YAML: below the top level of ``--config`` Snakemake reads everything as text.

    Args:
        value: Snakemake's value.
        written: the file's value at the same place; where the two are equal, it is left alone.
    """
    if value == written:
        return value
    if isinstance(value, Mapping):
        known = written if isinstance(written, Mapping) else {}
        return {key: _typed(part, known.get(key)) for key, part in value.items()}
    if isinstance(value, list):
        known = written[: len(value)] if isinstance(written, list) else []
        return [_typed(part, one) for part, one in zip_longest(value, known)]
    return documents.scalar(value) if isinstance(value, str) else value


def config_files(paths: Layout, run: Run) -> list[Path]:
    """Return the files that a run's MMDetection config is built from: a change to one of them trains the run again.

    Raises:
        InputError: a config names a base that does not exist, or is not Python.
    """
    detector, backbone = paths.detector(run.recipe, run.detector), paths.backbone(run.backbone)
    return sorted(assignments.files(detector) | assignments.files(backbone))


def pretrained(paths: Layout, run: Run) -> list[Path]:
    """Return the receipt of the weights that a run's backbone starts from; empty where they are random."""
    return [paths.receipt(run.backbone)] if backbones.origin(paths.backbone(run.backbone)) else []


def pretrained_here(experiment: Experiment) -> str:
    """Return the pattern of the names of an experiment's backbones that are pretrained and not fetched."""
    names = sorted({run.backbone for run in experiment.trained.values()})
    return "|".join(name for name in names if backbones.is_pretrained_here(experiment.paths.backbone(name))) or "(?!)"


def pretraining_files(paths: Layout, backbone: str) -> list[Path]:
    """Return the files that a pretraining depends on: the configs, and the code that draws and trains."""
    config = paths.backbone(backbone)
    detector = paths.configs / "detectors" / f"{backbones.origin(config)['detector']}.py"
    code = (_PACKAGE / "pretraining.py", *(_PACKAGE / "data" / "miniature").glob("*.py"))
    return sorted({*assignments.files(config), *assignments.files(detector), *map(_from_here, code)})


def origin(paths: Layout, run: Run) -> str:
    """Return the config that a run's weights were released with.

    Raises:
        InputError: no weights are released for the run's detector with its backbone.
    """
    return released.origin(paths.detector(run.recipe, run.detector), run.backbone)


def paper_files(paths: Layout) -> list[Path]:
    """Return all files of the paper's numbers: claims may be about tables that the experiment does not show."""
    return sorted(paths.paper("*").parent.glob("*.csv"))


def page_template(paths: Layout) -> list[Path]:
    """Return the files of the HTML template of notebooks."""
    return sorted(file for file in paths.notebook("page").with_suffix("").iterdir() if file.is_file())


def code(stage: str) -> list[Path]:
    """Return the files of a stage's code; a change to one of them runs the stage again.

    They are those of its folder in ``analysis``, with templates, and the modules of ``analysis`` and ``evaluation``
    that these import, directly or not, each with the Matplotlib style beside it.
    """
    folder = _PACKAGE / "analysis" / stage
    found = set(folder.rglob("*.j2"))
    waiting = list(folder.glob("*.py"))
    while waiting:
        file = waiting.pop()
        if file not in found:
            found |= {file, *file.parent.glob(f"{file.stem}.mplstyle")}
            waiting += _imported(file)
    return sorted(map(_from_here, found))


def _from_here(file: Path) -> Path:
    """Return a file's path from the working directory, where it is below that; a brace above would be a wildcard."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


@cache
def _imported(file: Path) -> list[Path]:
    """Return the modules of ``analysis`` and ``evaluation`` that a module imports from, at its top or in functions."""
    nodes = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}{part}" for node in nodes for part in ("", *(f".{alias.name}" for alias in node.names))}
    ours = [name for name in names if name.startswith(("iou_aware.analysis.", "iou_aware.evaluation."))]
    files = (_PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py") for name in ours)
    return list(filter(Path.is_file, files))
