"""The path of every file of an experiment: the one place that has the names under ``results/``."""

from dataclasses import dataclass
from pathlib import Path

from iou_aware.common.documents import NAME, NAME_IN_WORDS
from iou_aware.common.messages import InputError

REPORT = "report"
#: The stages of the workflow, which logs and benchmarks are named after, in the order in which people read of them.
STAGES = (
    *("prepare", "backbone", "pretrain", "train", "release", "predict", "evaluate", "collect", "table", "figures"),
    *("bootstrap", "premise", "gallery", "claims", "notebook", "report"),
)


@dataclass
class Layout:
    """The files of one experiment. Names of runs, splits and tables may be Snakemake's wildcards (``{run}``) as well.

    Attributes:
        root: the project's folder, which holds ``configs/``.
        experiment: the experiment's name.
        configs: the folder of everything that is configured.
        statements: the paper's claims as data, each with its condition.
        shapes: the pictures that pretrainings share.
        results: the folder of everything that the experiment makes.
        resolved: the experiment with the command line's changes, written by the workflow.
        metrics: one row per run, split and rule.
        per_class: one row per run, split, rule and class.
        missing: one row per run, split and rule of the experiment that has no metrics.
        checks: the AP of released weights, measured here and published.
        figures: the folder of the figures.
        claims: the paper's claims with their verdicts, as data; a Markdown page is beside it.
        premise: the folder of correlations of confidence with IoU.
        gallery: the folder of the images whose ranking a rule changed most.
        report: the page to read.
    """

    root: Path
    experiment: str

    def __post_init__(self) -> None:
        self.configs = self.root / "configs"
        self.statements = self.root / "reports" / "claims.yaml"
        self.shapes = self.root / "data" / "shapes"
        self.results = self.root / "results" / self.experiment
        self.resolved = self.results / "experiment.yaml"
        self.metrics = self.results / "metrics.csv"
        self.per_class = self.results / "per_class.csv"
        self.missing = self.results / "missing.csv"
        self.checks = self.results / "checks.json"
        self.figures = self.results / "figures"
        self.claims = self.results / "claims.json"
        self.premise = self.results / "premise"
        self.gallery = self.results / "gallery"
        self.report = self.results / "report" / "index.html"

    @property
    def notebooks(self) -> list[str]:
        """The names of the notebooks other than the report's; each becomes a page beside the report."""
        files = sorted(self.notebook("*").parent.glob("*.ipynb"))
        for file in files:
            if not NAME.fullmatch(file.stem):
                raise InputError(f"{file}: expected {NAME_IN_WORDS}; rename the notebook.")
        return [file.stem for file in files if file.stem != REPORT]

    def notebook(self, notebook: str) -> Path:
        """A notebook's source."""
        return self.root / "reports" / f"{notebook}.ipynb"

    def page(self, notebook: str) -> Path:
        """A notebook, executed over the results: a page beside the report."""
        return self.report.with_name(f"{notebook}.html")

    def detector(self, recipe: str, detector: str) -> Path:
        """A detector's MMDetection config under a recipe."""
        return self.configs / "detectors" / recipe / f"{detector}.py"

    def backbone(self, backbone: str) -> Path:
        """A backbone's MMDetection config."""
        return self.configs / "backbones" / f"{backbone}.py"

    def schedule(self, recipe: str) -> Path:
        """A recipe's optimiser, learning rate and length."""
        return self.configs / "schedules" / f"{recipe}.py"

    def pretrained(self, backbone: str) -> Path:
        """The weights that a backbone starts from, fetched or pretrained."""
        return self.root / "data" / "backbones" / f"{backbone}.pth"

    def receipt(self, backbone: str) -> Path:
        """The receipt of a backbone's weights; it is Snakemake's output, as Snakemake deletes those of failed jobs."""
        return self.root / "results" / "backbones" / f"{backbone}.json"

    def released(self, name: str) -> Path:
        """A file of released weights, fetched."""
        return self.root / "data" / "zoo" / name

    def dataset(self, dataset: str) -> Path:
        """A dataset's description."""
        return self.configs / "datasets" / f"{dataset}.yaml"

    def paper(self, table: str) -> Path:
        """The paper's own numbers."""
        return self.root / "reports" / "paper" / f"{table}.csv"

    def dataset_folder(self, dataset: str) -> Path:
        """The folder of what is prepared once per dataset, for every experiment."""
        return self.root / "results" / "datasets" / dataset

    def manifest(self, dataset: str) -> Path:
        """A prepared dataset's manifest: counts, checksums, paths."""
        return self.dataset_folder(dataset) / "manifest.json"

    def run_folder(self, run: str) -> Path:
        """The folder of a finished run."""
        return self.results / "runs" / run

    def config(self, run: str) -> Path:
        """A run's complete MMDetection config."""
        return self.run_folder(run) / "config.py"

    def history(self, run: str) -> Path:
        """A run's losses and learning rate while it trained."""
        return self.run_folder(run) / "history.csv"

    def seal(self, run: str) -> Path:
        """A finished run's record: its values, environment, time and checksums."""
        return self.run_folder(run) / "run.json"

    def weights(self, run: str) -> Path:
        """A run's weights."""
        return self.run_folder(run) / "weights.pth"

    def checkpoints(self, run: str) -> Path:
        """The folder that an interrupted training resumes from; no output of Snakemake's, which might delete it."""
        return self.results / "checkpoints" / run

    def detections(self, run: str, split: str) -> Path:
        """A run's detections on a split, under every rule."""
        return self.results / "detections" / run / f"{split}.parquet"

    def evaluation(self, run: str, split: str) -> Path:
        """A run's metrics on a split, for every rule."""
        return self.results / "evaluations" / run / f"{split}.json"

    def bootstrap(self, run: str, split: str) -> Path:
        """A run's metrics on a split in every resample of its images, for every rule."""
        return self.results / "bootstrap" / run / f"{split}.parquet"

    def table(self, table: str, suffix: str) -> Path:
        """A table as ``csv``, ``md``, ``tex`` or ``html``."""
        return self.results / "tables" / f"{table}.{suffix}"

    def log(self, *job: str) -> Path:
        """A job's log; ``job`` is its stage, then its name where the stage has more than one."""
        return self.results / "logs" / f"{'/'.join(job)}.log"

    def benchmark(self, *job: str) -> Path:
        """A job's time and memory; ``job`` as for ``log``."""
        return self.results / "benchmarks" / f"{'/'.join(job)}.tsv"
