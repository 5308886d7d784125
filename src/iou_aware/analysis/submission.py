"""The stage ``submission``: one run's detections on an unlabelled split, packed as an evaluation server takes them."""

import io
import logging
import textwrap
import zipfile
from pathlib import Path

from iou_aware import detections
from iou_aware.common.files import write_text, writing
from iou_aware.data.layouts import coco
from iou_aware.data.manifest import Manifest
from iou_aware.evaluation.submission import Counts, check
from iou_aware.experiment.experiment import Experiment
from iou_aware.workflow import packs
from iou_aware.workflow.packs import Pack

log = logging.getLogger(__name__)

# The same detections make the same bytes: the earliest date that a zip can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


def write_submission(experiment: Experiment, run_name: str, split: str, rule: str) -> Path:
    """Write ``results/<experiment>/submissions/detections_<test set>_<model>_results.zip`` and a text beside it.

    Written and checked a piece at a time, and only if the server's rules hold does the zip appear.

    Args:
        experiment: The study.
        run_name: One of its runs, which has been predicted on the split.
        split: A split that the dataset's ``submit`` names.
        rule: The rule whose detections are packed.

    Returns:
        The zip.

    Raises:
        InputError: There is no such split or rule, the run has no detections on it, or they break the server's rules.
    """
    pack = packs.one(experiment, run_name, split, rule)
    dataset = experiment.datasets[experiment.run(run_name).dataset]
    manifest = Manifest.load(experiment.paths.manifest(dataset.name), verify=True)
    source = experiment.paths.detections(run_name, split)
    images = [image["id"] for image in coco.read_json(experiment.root / manifest.split(split).annotations)["images"]]
    target = experiment.paths.submission(pack.name, "zip")
    with writing(target) as beside:
        with zipfile.ZipFile(beside, "w") as packed:
            member = zipfile.ZipInfo(f"{pack.name}.json", _DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            with packed.open(member, "w", force_zip64=True) as raw, io.TextIOWrapper(raw, encoding="utf-8") as file:
                detections.write_coco(file, detections.pieces(source, pack.rule))
        counts = check(beside, dataset.submit[split], images, manifest.category_ids, pack.name)
    note = _note(pack, dataset.name, dataset.submit_note, len(images), counts, detections.provenance(source))
    write_text(experiment.paths.submission(pack.name, "txt"), note)
    log.info("%s: %d detections on %d of %d images", target, counts.detections, counts.images, len(images))
    return target


def _note(pack: Pack, dataset: str, submit_note: str, images: int, counts: Counts, made: dict) -> str:
    paragraphs = [
        f"{pack.name}.zip: {counts.detections} detections of {pack.run}, ranked by {pack.rule}, on {counts.images} of "
        f"the {images} images of {pack.split} of {dataset}.",
        "Checked: the names of the zip and of the JSON in it; that the JSON is a list of detections (image_id, "
        "category_id, bbox as x, y, width, height, score); that every image and category exists; that all numbers are "
        "finite; and that no image has more than 100.",
        submit_note,
        f"Weights sha256 {made.get('weights_sha256')}; annotations sha256 {made.get('annotations_sha256')}; code "
        f"{made.get('git_commit')}.",
    ]
    return "\n\n".join(textwrap.fill(text, 100, break_on_hyphens=False) for text in paragraphs if text) + "\n"
