"""The path of every file of an experiment: the one place that has the names under ``results/``."""

from dataclasses import dataclass
from pathlib import Path

from iou_aware.common.documents import NAME, NAME_IN_WORDS
from iou_aware.common.errors import InputError

REPORT = "report"
#: The stages of the workflow, which logs and benchmarks are named after, in the order in which people read of them.
STAGES = (
    *("prepare", "backbone", "pretrain", "train", "release", "predict", "evaluate", "collect", "table", "figures"),
    *("bootstrap", "premise", "gallery", "claims", "notebook", "report"),
)


@dataclass(frozen=True)
class Layout:
    """The files of one experiment. Names of runs, splits and tables may be Snakemake's wildcards (``{run}``) as well.

    Attributes:
        root: the project's folder, which holds ``configs/``.
        experiment: the experiment's name.
    """

    root: Path
    experiment: str

    @property
    def configs(self) -> Path:
        """The folder of everything that is configured."""
        return self.root / "configs"

    @property
    def results(self) -> Path:
        """The folder of everything that the experiment makes."""
        return self.root / "results" / self.experiment

    @property
    def resolved(self) -> Path:
        """The experiment with the command line's changes, written by the workflow."""
        return self.results / "experiment.yaml"

    @property
    def metrics(self) -> Path:
        """One row per run, split and rule."""
        return self.results / "metrics.csv"

    @property
    def per_class(self) -> Path:
        """One row per run, split, rule and class."""
        return self.results / "per_class.csv"

    @property
    def missing(self) -> Path:
        """One row per run, split and rule of the experiment that has no metrics."""
        return self.results / "missing.csv"

    @property
    def figures(self) -> Path:
        """The folder of the figures."""
        return self.results / "figures"

    @property
    def report(self) -> Path:
        """The page to read."""
        return self.results / "report" / "index.html"

    @property
    def notebooks(self) -> list[str]:
        """The names of the notebooks other than the report's; each becomes a page beside the report."""
        files = sorted(self.notebook("*").parent.glob("*.ipynb"))
        for file in files:
            if not NAME.fullmatch(file.stem):
                raise InputError(f"{file}: expected {NAME_IN_WORDS}; rename the notebook.")
        return [file.stem for file in files if file.stem != REPORT]

    @property
    def claims(self) -> Path:
        """The paper's claims with their verdicts, as data; a Markdown page is beside it."""
        return self.results / "claims.json"

    @property
    def premise(self) -> Path:
        """The folder of correlations of confidence with IoU."""
        return self.results / "premise"

    @property
    def gallery(self) -> Path:
        """The folder of the images whose ranking a rule changed most."""
        return self.results / "gallery"

    @property
    def statements(self) -> Path:
        """The paper's claims as data, each with its condition."""
        return self.root / "reports" / "claims.yaml"

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

    @property
    def shapes(self) -> Path:
        """The pictures that pretrainings share."""
        return self.root / "data" / "shapes"

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

    @property
    def checks(self) -> Path:
        """The AP of released weights, measured here and published."""
        return self.results / "checks.json"

    def bootstrap(self, run: str, split: str) -> Path:
        """A run's metrics on a split in every resample of its images, for every rule."""
        return self.results / "bootstrap" / run / f"{split}.parquet"

    def table(self, table: str, suffix: str) -> Path:
        """A table as ``csv``, ``md``, ``tex`` or ``html``."""
        return self.results / "tables" / f"{table}.{suffix}"

    def log(self, stage: str, name: str | None = None) -> Path:
        """A job's log."""
        return self._per_job("logs", stage, name, "log")

    def benchmark(self, stage: str, name: str | None = None) -> Path:
        """A job's time and memory."""
        return self._per_job("benchmarks", stage, name, "tsv")

    def _per_job(self, folder: str, stage: str, name: str | None, suffix: str) -> Path:
        return self.results / folder / (f"{stage}.{suffix}" if name is None else f"{stage}/{name}.{suffix}")
