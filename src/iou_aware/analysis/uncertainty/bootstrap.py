"""How sure a difference of AP is: the bootstrap over images (Efron), paired because all draws are the same for all.

The images of a split are drawn with replacement, as many as there are, 1,000 times, from a fixed seed. Every run and
rule is measured on the same draws, so that a difference of two of them (or any sum of gains) has its distribution by
plain subtraction, and what makes an image hard for both cancels out. The interval is about the images only: that
another training of the same model would come out otherwise it does not know.

hotcoco's own ``compare`` counts an image that was drawn twice once, which leaves 63 % of the images and is not the
bootstrap; hence ``evaluation.resampled``.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iou_aware import detections, provenance
from iou_aware.data.manifest import Manifest
from iou_aware.errors import InputError
from iou_aware.evaluation import resampled
from iou_aware.evaluation.coco import THRESHOLDS, results_array
from iou_aware.evaluation.matching import AREAS, Matcher
from iou_aware.evaluation.overlaps import MATCHED, Truth, load_truth, placement
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import Layout
from iou_aware.files import sha256, writing

logger = logging.getLogger(__name__)

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95
METRICS = ("AP", *(f"AP{round(100 * threshold)}" for threshold in THRESHOLDS), "APs", "APm", "APl")
# Of confidence with IoU, over the true positives at an IoU of one half.
CORRELATIONS = ("spearman", "pearson")
# So many resamples at once keep the memory of a class of COCO's below a hundred megabytes.
_AT_ONCE = 100


# Chooses one number (...) among several (..., M).
Choose = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """Where a quantity lies at 95 % confidence, as far as the images are concerned.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        positive: How surely it is above zero, as a share of the resamples.
        resamples: How many resamples have a value.
    """

    low: float
    high: float
    positive: float
    resamples: int


def interval(value: float, values: np.ndarray) -> Interval | None:
    """Return the basic bootstrap interval: what the resamples miss ``value`` by, the other way round.

    AP of a sample lies above that of all there is, the more so the fewer objects a class has, and that of a resample
    above that of the sample by as much again. The percentiles themselves would therefore lie too high; mirrored at
    the value they do not. In a difference this cancels out and the two agree.

    Args:
        value: On the images as they are.
        values: ``(B,)`` on the resamples, NaN where undefined.

    Returns:
        None if fewer than half of the resamples have a value.
    """
    return interval_of_choice(np.array([value]), values[:, np.newaxis], lambda one: one[..., 0])


def interval_of_choice(values: np.ndarray, drawn: np.ndarray, choose: Choose) -> Interval | None:
    """Return an interval of what is chosen among several numbers, such as the least of them.

    What is chosen for being extreme looks more extreme than it is, the more so the more it was chosen from. So the ends
    are chosen from a band that holds all numbers at once, as often as the basic interval holds a single one: each is as
    many of its standard deviations wide (Westfall and Young's single-step method). For one number it is that interval.

    Args:
        values: ``(M,)`` on the images as they are.
        drawn: ``(B, M)`` on the resamples, NaN where undefined.
        choose: Makes one number (...) of (..., M), and no smaller one where one of them is larger.

    Returns:
        None if fewer than half of the resamples have all values.
    """
    present = drawn[~np.isnan(drawn).any(1)]
    if 2 * len(present) < len(drawn) or not len(present):
        return None
    missed = values - present
    spread = missed.std(0)
    scaled = missed / np.where(spread > 0, spread, 1)
    below, above = np.percentile(scaled.min(1), 50 * (1 - LEVEL)), np.percentile(scaled.max(1), 50 * (1 + LEVEL))
    low, high = float(choose(values + spread * below)), float(choose(values + spread * above))
    return Interval(low, high, float((choose(values + missed) > 0).mean()), len(present))


def draws(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator[np.ndarray]:
    """Yield ``(at most 100, I)`` integers: how often each of I images is drawn in each resample."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        drawn = random.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)


def distributions(
    matcher: Matcher,
    found: np.ndarray,
    metrics: Sequence[str] = METRICS,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, np.ndarray]:
    """Return every metric of one set of detections in every resample.

    Args:
        matcher: The ground truth.
        found: ``(N, 7)``, see ``evaluation.coco.results_array``.
        metrics: Of ``METRICS``.
        resamples: How many.
        seed: Equal seeds draw equal images, whatever the detections.

    Returns:
        ``(B,)`` percent per metric; NaN where no class has an object.
    """
    values: dict[str, np.ndarray] = {}
    for area in AREAS:
        wanted = [metric for metric in metrics if _area(metric) == area]
        if not wanted:
            continue
        matches = matcher.match(found, area)
        drawn = draws(len(matcher.image_ids), resamples, seed)
        precisions = resampled.average_precisions(matches, drawn)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, as it should be
            by_threshold = 100 * np.nanmean(precisions, axis=2)
        for metric in wanted:
            index = _threshold(metric)
            values[metric] = by_threshold.mean(axis=1) if index is None else by_threshold[:, index]
    return {metric: values[metric] for metric in metrics}


def correlations(
    matcher: Matcher,
    truth: Truth,
    found: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, np.ndarray]:
    """Return how confidence correlates with IoU in every resample: ``(B,)`` by ``CORRELATIONS``, NaN where undefined.

    Args:
        matcher: The ground truth, to match with.
        truth: Its boxes.
        found: ``(N, 7)``, see ``evaluation.coco.results_array``.
        resamples: How many.
        seed: As for ``distributions``.
    """
    matches = matcher.match(found, thresholds=np.array([MATCHED]))
    ious, true = placement(truth, found, matches), matches.true[0]
    parts = [
        resampled.correlations(matches.confidences[true], ious[true], matches.images[true], drawn)
        if true.any()
        else np.full((len(CORRELATIONS), len(drawn)), np.nan)
        for drawn in draws(len(matcher.image_ids), resamples, seed)
    ]
    return dict(zip(CORRELATIONS, np.concatenate(parts, axis=1), strict=True))


def resample(experiment: Experiment, run_name: str, split: str, resamples: int = RESAMPLES) -> Path:
    """Write ``results/<experiment>/bootstrap/<run>/<split>.parquet``: all metrics, in every resample, for every rule.

    Raises:
        InputError: The detections or the manifest are missing.
    """
    run, target = experiment.run(run_name), experiment.paths.bootstrap(run_name, split)
    annotations = annotations_of(experiment.paths, run.dataset, split)
    source = experiment.paths.detections(run_name, split)
    matcher, truth = Matcher(annotations), load_truth(annotations)
    tables = []
    for rule in experiment.rules_for(run):
        found = results(detections.read(source, rule))
        values = distributions(matcher, found, resamples=resamples)
        values |= correlations(matcher, truth, found, resamples)
        tables.append(pa.table({"rule": [rule] * resamples, "resample": range(resamples), **values}))
        logger.info("%s, %s, %s: %d resamples", run_name, split, rule, resamples)
    made = {
        **provenance.collect(),
        "weights_sha256": detections.provenance(source)["weights_sha256"],
        "annotations_sha256": sha256(annotations),
        "detections_sha256": sha256(source),
        "images": len(matcher.image_ids),
        "resamples": resamples,
        "seed": SEED,
    }
    table = pa.concat_tables(tables).replace_schema_metadata({"provenance": json.dumps(made)})
    with writing(target) as beside:
        pq.write_table(table, beside, compression="zstd")
    return target


def results(found: detections.Detections) -> np.ndarray:
    """Return detections as the evaluators load them, ``(N, 7)``."""
    return results_array(found.image_ids, found.boxes, found.confidences, found.category_ids)


def annotations_of(paths: Layout, dataset: str, split: str) -> Path:
    """Return the COCO instances file of a split; InputError unless the dataset is prepared and has it."""
    file = paths.root / Manifest.load(paths.manifest(dataset)).split(split).annotations
    if not file.is_file():
        raise InputError(f"{file}: missing, though {dataset} was prepared. Run `iou-aware prepare` for it again.")
    return file


class Resamples:
    """The metrics of one run on one split in every resample, as ``resample`` wrote them."""

    def __init__(self, path: Path):
        """Read ``path``; InputError if it is not such a file."""
        self.path = path
        table = pq.read_table(path)
        if b"provenance" not in (table.schema.metadata or {}) or "rule" not in table.column_names:
            raise InputError(f"{path}: expected a file that `iou-aware bootstrap` wrote. Run it again.")
        self.about = json.loads(table.schema.metadata[b"provenance"])
        self._frame = table.to_pandas()

    def values(self, rule: str, metric: str) -> np.ndarray | None:
        """Return ``(B,)`` percent, or None for a rule or metric that was not resampled."""
        if metric not in (*METRICS, *CORRELATIONS):
            return None
        values = self._frame.loc[self._frame["rule"] == rule, metric].to_numpy()
        return values if len(values) else None

    def check_paired(self, other: "Resamples") -> None:
        """Raise InputError unless the images of ``other`` were drawn alike, so that differences are paired."""
        for key in ("annotations_sha256", "resamples", "seed", "images"):
            if self.about[key] != other.about[key]:
                raise InputError(
                    f"{self.path} and {other.path} cannot be compared: their {key} are {self.about[key]} and"
                    f" {other.about[key]}. Run `iou-aware bootstrap` again for both."
                )


@lru_cache(maxsize=64)
def _load(path: Path, version: tuple[int, ...]) -> Resamples:
    return Resamples(path)


def load(path: Path) -> Resamples | None:
    """Return the resamples at ``path``, read once; None when there are none yet."""
    if not path.is_file():
        return None
    status = path.stat()
    # The clock of a file system ticks slowly; whatever is renamed to this path is another file at least.
    return _load(path, (status.st_mtime_ns, status.st_ino, status.st_size))


def combined(terms: Iterable[tuple[float, Path, str, str]]) -> np.ndarray | None:
    """Return ``(B,)``, a sum over terms (factor, file of resamples, rule, metric); None if one is not resampled.

    Raises:
        InputError: The terms are about different images.
    """
    drawn = columns(terms)
    return None if drawn is None else drawn.sum(1)


def columns(terms: Iterable[tuple[float, Path, str, str]]) -> np.ndarray | None:
    """Return ``(B, T)``, each of T terms of ``combined`` in each resample; None if one is not resampled."""
    found, first = [], None
    for factor, path, rule, metric in terms:
        resamples = load(path)
        values = None if resamples is None else resamples.values(rule, metric)
        if resamples is None or values is None:
            return None
        first = first or resamples
        first.check_paired(resamples)
        found.append(factor * values)
    return np.stack(found, 1)


def _area(metric: str) -> str:
    return metric[2:] if metric[2:] in AREAS else "all"


def _threshold(metric: str) -> int | None:
    """Return the index of a metric's IoU threshold; None for a metric that is the mean of all."""
    return METRICS.index(metric) - 1 if metric[2:].isdigit() else None
