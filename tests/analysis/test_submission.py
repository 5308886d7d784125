"""Packs for an evaluation server: what goes in comes out, the server's rules hold, and a broken one is named."""

import json
import zipfile

import numpy as np
import pytest
import yaml
from builders.detections import noisy, scene, write_detections
from builders.results import SMALL_RUN, experiment
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from iou_aware import cli, detections
from iou_aware.analysis.submission import write_submission
from iou_aware.common.errors import InputError
from iou_aware.common.files import sha256
from iou_aware.data.manifest import Manifest, SplitData
from iou_aware.evaluation import submission
from iou_aware.evaluation.submission import check
from iou_aware.experiment.experiment import Experiment
from iou_aware.workflow import packs

AWARE = "shapes.iou_aware_retinanet.tiny.bce.quick.72x72.seed0"
NAME = "detections_hidden2017_iou-aware-retinanet-tiny-bce-quick-72x72-seed0-alpha-0-50_results"
IMAGES, CATEGORIES = [10, 20, 30], [1, 3]
GOOD = {"image_id": 10, "category_id": 3, "bbox": [0.5, 1, 20.25, 7], "score": 0.25}


def zipped(path, text: str, member: str | None = None):
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(member or f"{path.stem}.json", text)
    return path


def checked(folder, text: str):
    return check(zipped(folder / "detections_set_model_results.zip", text), "set", IMAGES, CATEGORIES)


numbers = st.floats(0, 1e6, allow_nan=False)
records = st.fixed_dictionaries(
    {
        "image_id": st.sampled_from(IMAGES),
        "category_id": st.sampled_from(CATEGORIES),
        "bbox": st.tuples(numbers, numbers, numbers, numbers).map(list),
        "score": numbers,
    }
)


@given(st.lists(records, min_size=1, max_size=30), st.sampled_from([None, 0, 3]), st.integers(500, 900))
def test_whatever_is_valid_passes_and_is_counted_however_it_is_cut(tmp_path_factory, content, indent, piece):
    folder = tmp_path_factory.mktemp("pack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submission, "_PIECE", piece)
        counts = checked(folder, json.dumps(content, indent=indent) + "\n")
    assert counts.detections == len(content)
    assert counts.images == len({record["image_id"] for record in content})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"detections": [GOOD]}, "expected a JSON list"),
        ([], "the list is empty"),
        ([GOOD, [1]], r"detection 2: found \[1\], expected an object with the keys bbox, category_id, image_id, score"),
        ([{k: v for k, v in GOOD.items() if k != "score"}], "detection 1: found .*, expected an object with the keys"),
        ([GOOD | {"area": 3}], "expected an object with the keys"),
        ([GOOD, GOOD | {"image_id": 11}], "detection 2: image_id: found 11, expected the id of one of 3 that exist"),
        ([GOOD | {"image_id": "10"}], 'image_id: found "10"'),
        ([GOOD | {"image_id": 10.0}], r"image_id: found 10\.0"),
        ([GOOD | {"category_id": 2}], "category_id: found 2, expected the id of one of 2"),
        ([GOOD | {"category_id": True}], "category_id: found true"),
        ([GOOD | {"bbox": [1, 2, 3]}], r"bbox: found \[1, 2, 3\], expected \[x, y, width, height\]"),
        ([GOOD | {"bbox": [1, 2, float("nan"), 4]}], "bbox: found .*NaN.*, expected .* four finite numbers"),
        ([GOOD | {"bbox": [9, 9, -1, 4]}], "expected a width and a height from 0 on"),
        ([GOOD | {"score": float("inf")}], "score: found Infinity, expected a finite number"),
        ([GOOD | {"score": "high"}], 'score: found "high"'),
        ([GOOD] * 101, "detection 101: the image 10 has more than 100 detections"),
    ],
)
def test_each_rule_of_the_server_is_checked(tmp_path, content, told):
    with pytest.raises(InputError, match=told):
        checked(tmp_path, json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text[:-3], "not valid JSON"),
        (lambda text: text.replace("}, {", "} {"), "not valid JSON"),
        (lambda text: text[:-1] + ",]", "not valid JSON"),
        (lambda text: text + "[]", "something follows the list"),
        (lambda text: text.replace('"score": 0.25', '"score": 1e999'), "score: found Infinity"),
        (lambda _: "", "expected a JSON list"),
    ],
)
def test_text_that_is_no_list_of_numbers_is_named(tmp_path, spoil, told):
    with pytest.raises(InputError, match=told):
        checked(tmp_path, spoil(json.dumps([GOOD, GOOD])))


def test_a_hundred_per_image_are_allowed(tmp_path):
    assert checked(tmp_path, json.dumps([GOOD] * 100 + [GOOD | {"image_id": 20}])).detections == 101


@pytest.mark.parametrize(
    ("name", "member", "told"),
    [
        ("results.zip", None, "the name is 'results', expected detections_set_<model>_results"),
        ("detections_other_model_results.zip", None, "expected detections_set_<model>_results"),
        ("detections_set_my model_results.zip", None, "expected detections_set_<model>_results"),
        ("detections_set_model_results.zip", "results.json", "expected detections_set_model_results.json and no other"),
        ("detections_set_model_results.zip", "a/detections_set_model_results.json", "and no other"),
    ],
)
def test_names_are_the_servers(tmp_path, name, member, told):
    with pytest.raises(InputError, match=told):
        check(zipped(tmp_path / name, json.dumps([GOOD]), member), "set", IMAGES, CATEGORIES)


def test_a_second_file_and_what_is_no_zip_are_refused(tmp_path):
    path = zipped(tmp_path / "detections_set_model_results.zip", json.dumps([GOOD]))
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"holds .*readme\.txt, expected"):
        check(path, "set", IMAGES, CATEGORIES)
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match="is no zip"):
        check(path, "set", IMAGES, CATEGORIES)


@pytest.fixture
def study(tmp_path) -> Experiment:
    """A study whose dataset has a split without boxes, on which one run has been predicted by two rules."""
    experiment(tmp_path)
    path = tmp_path / "configs" / "datasets" / "shapes.yaml"
    content = yaml.safe_load(path.read_text())
    content["splits"]["hidden"] = {"annotations": "hidden.json", "images": "hidden", "labelled": False}
    submit = {"splits": {"hidden": "hidden2017"}, "note": "The server has closed."}
    path.write_text(yaml.safe_dump(content | {"submit": submit}))
    study = Experiment.load(tmp_path / "configs" / "experiments" / "study.yaml")
    images = study.paths.dataset_folder("shapes") / "hidden.json"
    truth = scene(images)
    part = SplitData(str(images.relative_to(tmp_path)), "hidden", False, {"images": 12}, sha256(images))
    manifest = Manifest("shapes", "coco", ".", ["a", "b", "c"], [1, 2, 3], "val", ["val"], "error", {"hidden": part})
    manifest.write(study.paths.manifest("shapes"))
    write_detections(study, AWARE, "hidden", {"none": noisy(truth, 1), "alpha=0.50": noisy(truth, 2)})
    return study


def test_a_pack_holds_the_detections_of_its_rule_and_pycocotools_reads_it(study, monkeypatch):
    monkeypatch.setattr(detections, "ROWS_PER_GROUP", 50)
    path = write_submission(study, AWARE, "hidden", "alpha=0.5")
    assert path == study.results / "submissions" / f"{NAME}.zip"
    with zipfile.ZipFile(path) as packed:
        content = json.loads(packed.read(f"{NAME}.json"))
    found = detections.read(study.paths.detections(AWARE, "hidden"), "alpha=0.50")
    assert [one["image_id"] for one in content] == found.image_ids.tolist()
    assert [one["score"] for one in content] == found.confidences.astype(float).tolist()
    corners = np.array([one["bbox"] for one in content])
    corners[:, 2:] += corners[:, :2]
    np.testing.assert_allclose(corners, found.boxes, rtol=1e-6)
    truth = COCO(study.paths.dataset_folder("shapes") / "hidden.json")
    assert len(truth.loadRes(content).getAnnIds()) == len(content)
    text = " ".join(path.with_suffix(".txt").read_text().split())
    assert f"{len(content)} detections of {AWARE}, ranked by alpha=0.50" in text and "The server has closed." in text


def test_packing_again_gives_the_same_bytes(study):
    first = write_submission(study, AWARE, "hidden", "alpha=0.50").read_bytes()
    assert write_submission(study, AWARE, "hidden", "alpha=0.50").read_bytes() == first
    assert write_submission(study, AWARE, "hidden", "none").read_bytes() != first


def test_detections_that_break_a_rule_are_not_packed(study):
    found = noisy(scene(study.root / "elsewhere.json", images=14), 1)
    write_detections(study, AWARE, "hidden", {"alpha=0.50": found})
    with pytest.raises(InputError, match=r"image_id: found 1[34]0, expected the id of one of 12"):
        write_submission(study, AWARE, "hidden", "alpha=0.50")
    assert not list((study.results / "submissions").iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([AWARE, "--split", "val", "--rule", "none"], "'val' is no split to pack for a server"),
        ([AWARE, "--split", "hidden", "--rule", "oracle"], "which has no boxes, are not ranked by 'oracle=0.50'"),
        ([AWARE, "--split", "hidden", "--rule", "alpha=0.33"], "not ranked by 'alpha=0.33'"),
        ([AWARE, "--split", "hidden", "--rule", "alpha=0.20"], "no detections by the rule 'alpha=0.20'"),
    ],
)
def test_what_cannot_be_packed_is_told(study, arguments, told, capsys):
    path = str(study.root / "configs" / "experiments" / "study.yaml")
    assert cli.main(["submission", path, *arguments]) == 2
    assert told in capsys.readouterr().err


def test_the_tables_asked_for_are_packed_by_the_rules_of_their_rows(study):
    path = study.root / "configs" / "experiments" / "study.yaml"
    assert packs.requested(study) == {}
    asked = Experiment.load(path, {"submissions": ["table2"]})
    found = packs.requested(asked)
    rows = asked.tables["table2"].rows.values()
    assert {(pack.run, pack.rule) for pack in found.values()} == {(run, row.rule) for row in rows for run in row.runs}
    assert all(submission.NAME.fullmatch(name) for name in found)
    assert len(packs.predictions(asked)) == len(list(asked.evaluations())) + len(found)
    assert packs.predicted(asked, asked.run(AWARE)) == ["val", "hidden"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"submissions": ["table9"]}, r"submissions\[0\]: .*'table9'"),
        ({"submissions": ["table5"]}, r"table5: .*marks\.yaml has no key `submit`"),
        (
            {
                "submissions": ["mine"],
                "rules": ["oracle"],
                "runs": [SMALL_RUN | {"detector": "iou_aware_retinanet", "iou_loss": "bce"}],
                "tables": {
                    "mine": {"caption": "c", "split": "val", "columns": ["AP"], "rows": {"a": {"rule": "oracle"}}}
                },
            },
            r"mine: the row a ranks by oracle=0\.50, which needs boxes",
        ),
    ],
)
def test_submissions_that_cannot_be_are_told_before_anything_runs(study, changes, told):
    with pytest.raises(InputError, match=told):
        Experiment.load(study.root / "configs" / "experiments" / "study.yaml", changes)


@pytest.mark.parametrize(
    ("split", "told"), [("val", "is labelled. Name it under `evaluate`"), ("hiden", "not among `splits`")]
)
def test_only_a_split_without_boxes_is_submitted(study, split, told):
    path = study.root / "configs" / "datasets" / "shapes.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"submit": {"splits": {split: "set"}}}))
    with pytest.raises(InputError, match=told):
        Experiment.load(study.root / "configs" / "experiments" / "study.yaml")
