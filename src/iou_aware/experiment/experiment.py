"""An experiment: its runs, datasets, confidence rules and tables, read from YAML and checked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from iou_aware.common import documents
from iou_aware.common.documents import Document
from iou_aware.common.files import write_text
from iou_aware.common.messages import InputError
from iou_aware.data import dataset
from iou_aware.data.dataset import Dataset
from iou_aware.data.manifest import Manifest
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import Run, read_rules, read_runs
from iou_aware.experiment.table import Table, TableReader
from iou_aware.method.confidence import Rule

# Settings that change no result, so that a change to one does not train again.
MACHINE_SETTINGS = ("workers", "device")
# Keys of the YAML that become fields unchanged.
_AS_WRITTEN = ("title", "comparison", "settings", "gpu", "roots", "noise_in")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One study, read from YAML and checked.

    Attributes:
        name: the experiment's name.
        title: one line for people.
        comparison: ``values`` when the paper's numbers can be met, ``pattern`` when only gains and orderings can.
        rules: how confidence is computed for IoU-aware runs, in order.
        rules_by_run: the same for each run, by its name: ``rules`` and what its entry adds, or ``cls`` alone.
        settings: changes to how the recipe trains.
        gpu: the type of GPU to plan for; None for that of ``configs/costs.yaml``.
        roots: folders of datasets, by name, that replace those of their files.
        runs: the models, by name, in the order written.
        tables: the tables to draw, by name.
        datasets: the datasets of the runs, by name, in order of appearance.
        noise_in: by table, how much two trainings of one configuration differ, where known.
        paths: where every file lies.
        content: the YAML's content, as read.
    """

    name: str
    title: str
    comparison: str = "values"
    rules: tuple[Rule, ...]
    rules_by_run: dict[str, tuple[Rule, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    gpu: str | None = None
    roots: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Run]
    tables: dict[str, Table]
    datasets: dict[str, Dataset]
    noise_in: dict[str, float] = field(default_factory=dict)
    paths: Layout
    content: dict[str, Any] = field(repr=False)

    @staticmethod
    def load(path: str | Path, overrides: dict[str, Any] | None = None) -> "Experiment":
        """Read an experiment.

        Args:
            path: the YAML, somewhere below the project's folder (the nearest one that holds ``configs/``).
            overrides: values that replace the file's, top-level key by top-level key, as ``snakemake --config`` does.

        Raises:
            InputError: naming file, line and key, what was found, what was expected.
        """
        path = Path(path)
        document = documents.read(path)
        content = document.content
        if overrides:
            document = Document(document.name, (content or {}) | overrides, document.lines)
        documents.check(document, "experiment")
        loaded = _read(document, _project(path))
        name = (content or {}).get("experiment", path.stem)  # an override may well change it
        if name != path.stem and path.resolve() != loaded.paths.resolved.resolve():
            told = f"found {name!r}, expected {path.stem!r}, the name of the file, under which its results will lie"
            raise document.error(("experiment",), told)
        return loaded

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.paths.root

    @property
    def results(self) -> Path:
        """The folder of everything that the experiment makes."""
        return self.paths.results

    def run(self, name: str) -> Run:
        """Return a run by its name, or raise InputError naming the closest one."""
        if name not in self.runs:
            raise InputError(f"experiment {self.name}: no run {name!r}; expected {documents.one_of(self.runs, name)}")
        return self.runs[name]

    @property
    def trained(self) -> dict[str, Run]:
        """The runs to train, by name."""
        return {name: run for name, run in self.runs.items() if not run.is_released}

    @property
    def released(self) -> dict[str, Run]:
        """The runs whose weights are fetched, by name."""
        return {name: run for name, run in self.runs.items() if run.is_released}

    def rules_for(self, run: Run, split: str | None = None) -> list[Rule]:
        """Return the rules to compute a run's confidence by: the experiment's and its own, or ``cls`` alone.

        On a ``split`` without boxes, rules that need boxes are left out.
        """
        rules = self.rules_by_run[run.name]
        if split is None or self.datasets[run.dataset].split(split)["labelled"]:
            return list(rules)
        return [rule for rule in rules if rule.kind != "oracle"]

    def splits_for(self, run: Run) -> list[str]:
        """Return the splits that a run is evaluated on."""
        return list(self.datasets[run.dataset].evaluate)

    def manifest(self, run: Run, verify: bool = False) -> Manifest:
        """Return a run's prepared dataset, of its fold where there is cross-validation; see ``Manifest.load``."""
        return Manifest.load(self.paths.manifest(run.dataset), verify).for_seed(run.seed)

    def evaluations(self) -> list[tuple[str, str]]:
        """Return run name and split of every evaluation."""
        return [(name, split) for name, run in self.runs.items() for split in self.splits_for(run)]

    def training_values(self, name: str) -> dict[str, Any]:
        """Return the values that decide a run's weights, apart from files; a change to one trains again."""
        settings = {key: value for key, value in self.settings.items() if key not in MACHINE_SETTINGS}
        run = self.run(name)
        return run.as_dict() | settings | {"root": self.roots.get(run.dataset)}

    def write_resolved(self) -> Path:
        """Write the experiment with all overrides to where the stages read it, unless that file is the same already."""
        path, text = self.paths.resolved, yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True, width=120)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
        return path


def _project(path: Path) -> Path:
    """Return the nearest folder above ``path`` that holds ``configs/``, relative when it is the working directory."""
    for folder in path.absolute().parents:
        if (folder / "configs").is_dir():
            return Path() if folder == Path.cwd() else folder
    raise InputError(f"{path}: expected below a project's folder, one that holds configs/; found none above it")


def _read(document: Document, root: Path) -> Experiment:
    content = document.content
    paths = Layout(root, content["experiment"])
    rules = read_rules(document, ("rules",), content["rules"])
    runs, rules_by_run = read_runs(document, paths, rules)
    roots = content.get("roots", {})
    datasets = {name: dataset.load(root, name, roots) for name in dict.fromkeys(run.dataset for run in runs.values())}
    for name in roots:
        documents.require(document, ("roots", name), name, list(datasets), "dataset of this experiment")
    for name in content.get("noise_in", {}):
        documents.require(document, ("noise_in", name), name, list(content["tables"]), "table of this experiment")
    return Experiment(
        name=content["experiment"],
        rules=rules,
        rules_by_run=rules_by_run,
        runs=runs,
        tables=TableReader(document, paths, runs, rules_by_run, datasets).read(),
        datasets=datasets,
        paths=paths,
        content=content,
        **{key: content[key] for key in _AS_WRITTEN if key in content},
    )
