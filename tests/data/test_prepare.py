"""The stage as a whole: where data may lie, what the manifest promises, and what its reader checks."""

import json
from itertools import chain
from unicodedata import normalize

import pytest
from builders.data import coco_content, converted, describe, picture, prepared, put, write_own_coco, write_own_voc

from iou_aware.common.messages import InputError
from iou_aware.data.annotations import Annotations
from iou_aware.data.manifest import Manifest, SplitData
from iou_aware.data.miniature import generate as micro


def test_data_that_are_absent_are_explained(tmp_path):
    describe(tmp_path)
    told = (
        rf"{tmp_path}/data/own: .* not there; `root` of .*own\.yaml names .* To use them, name .*roots: {{own: FOLDER}}"
    )
    with pytest.raises(InputError, match=told):
        prepared(tmp_path)
    describe(tmp_path, fetch={"archives": [{"url": "https://example.org/a.zip"}]})
    with pytest.raises(InputError, match=r"`roots\.own` of the experiment names this folder.*`iou-aware fetch own`"):
        prepared(tmp_path, own="elsewhere")


def test_the_wrong_number_of_images_is_named(tmp_path):
    write_own_voc(tmp_path, splits={"train": {"sets": [{"folder": ".", "list": "train"}], "expected_images": 2}})
    with pytest.raises(InputError, match=r"has 1 images, but .*own\.yaml, key splits\.train\.expected_images, says 2"):
        prepared(tmp_path)


def test_a_changed_annotation_file_is_noticed(tmp_path):
    write_own_coco(tmp_path)
    path = tmp_path / "results" / "datasets" / "own" / "manifest.json"
    file = tmp_path / prepared(tmp_path).split("train").annotations
    file.write_text(file.read_text().replace("dog", "cow"))
    Manifest.load(path)
    with pytest.raises(InputError, match=r"train\.json: the annotations of own train changed"):
        Manifest.load(path, verify=True)
    file.unlink()
    with pytest.raises(InputError, match="no such file"):
        Manifest.load(path, verify=True)


@pytest.mark.parametrize("linked", ["results", "results/datasets", "data", "data/own"])
def test_folders_may_be_links_to_where_there_is_room(tmp_path, linked):
    project = tmp_path / "my project"
    write_own_voc(project)
    (project / linked).mkdir(parents=True, exist_ok=True)
    (project / linked).rename(tmp_path / "scratch")
    (project / linked).symlink_to(tmp_path / "scratch")
    split = prepared(project).split("train")
    assert (split.annotations, split.images) == ("results/datasets/own/train.json", "data/own")


COMPOSED, DECOMPOSED = (normalize(form, "Zähler") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("layout", "written", "stored"),
    [
        *((layout, COMPOSED, DECOMPOSED) for layout in ("coco", "voc")),
        *((layout, DECOMPOSED, COMPOSED) for layout in ("coco", "voc")),
        *((layout, "more\\a", "more/a") for layout in ("coco", "voc")),
        ("coco", "a\\b", "a\\b"),
    ],
)
def test_names_are_those_of_the_files_whatever_system_has_written_them(tmp_path, layout, written, stored):
    """An archive from macOS has letters with accents in two characters; Windows separates folders by backslashes."""
    if layout == "coco":
        content = coco_content(images=1)
        content["images"][0]["file_name"] = f"{written}.jpg"
        put(write_own_coco(tmp_path).parent / "train" / f"{stored}.jpg", picture())
        put(tmp_path / "data" / "own" / "train.json", json.dumps(content))
    else:
        root = write_own_voc(tmp_path)
        for folder, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
            put(root / folder / f"{stored}.{suffix}", (root / folder / f"a.{suffix}").read_bytes())
        put(root / "ImageSets" / "Main" / "train.txt", written)
    prepared(tmp_path)
    assert converted(tmp_path, "train")["images"][0]["file_name"].endswith(f"{stored}.jpg")


ANNOTATIONS, OTHER = "expected COCO's annotations", "not a manifest of this version"


@pytest.mark.parametrize(
    ("load", "content", "told"),
    [
        *((Annotations.load, content, ANNOTATIONS) for content in (None, "{", "[]", '{"images": []}')),
        *(
            (Manifest.load, content, OTHER)
            for content in ("[" * 100_000, "[]", '{"format": 2, "splits": {}}', '{"format": 1}')
        ),
        (Manifest.load, None, "no such manifest. Run `iou-aware prepare`"),
    ],
)
def test_what_are_no_annotations_or_no_manifest_is_refused(tmp_path, load, content, told):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=rf"a\.json: .*{told}"):
        load(path)


MINIATURE = {
    "generate": {"generator": "micro-coco", "seed": 3, "images": {"train": 4}},
    "layout": "coco",
    "splits": {"train": {"annotations": "annotations/instances_train.json", "images": "train"}},
}


@pytest.mark.parametrize("root", ["../elsewhere", "{}/elsewhere", "data", "data/../elsewhere", "results/datasets/own"])
def test_a_miniature_is_drawn_in_the_projects_data_only(tmp_path, root):
    project = tmp_path / "project"
    describe(project, **MINIATURE, root=root.format(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"`root` of .*own\.yaml.*expected a folder in .*data"):
        prepared(project)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_miniature_is_drawn_where_data_lead_to(tmp_path):
    """On a cluster, ``data`` is a link to where there is room."""
    describe(tmp_path / "project", **MINIATURE)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "project" / "data").symlink_to(tmp_path / "scratch")
    split = prepared(tmp_path / "project").split("train")
    assert (split.counts["images"], split.invalid) == (4, [])
    assert (tmp_path / "scratch" / "own" / micro.STAMP).is_file()


def test_folds_share_out_the_images_with_their_boxes(tmp_path):
    content = coco_content([(n, 4, 20, 16) for n in range(20)], images=7)
    content["images"] = [image | {"id": 3 * image["id"]} for image in content["images"][::-1]]
    for n, box in enumerate(content["annotations"]):
        box |= {"image_id": 3 + 3 * (n % 7), "category_id": 1 + n % 2}
    write_own_coco(tmp_path, content, folds=3)
    manifest = prepared(tmp_path)

    def boxes(split: SplitData) -> list[tuple]:
        held = Annotations.load(tmp_path / split.annotations)
        assert sorted(held.file_names) == list(range(1, 1 + split.counts["images"]))
        assert held.ids.tolist() == list(range(1, 1 + len(held.ids)))
        rows = zip(*(column.tolist() for column in (held.image_ids, held.category_ids, held.boxes)), strict=True)
        return sorted((held.file_names[image], held.source_images[image], *rest) for image, *rest in rows)

    whole = boxes(manifest.split("train"))
    assert len(whole) == 20 and {source for _, source, *_ in whole} == {3, 6, 9, 12, 15, 18, 21}
    views = [manifest.for_seed(seed) for seed in range(3)]
    tested = [boxes(view.split("train")) for view in views]
    assert sorted(chain(*tested)) == whole
    for view, own in zip(views, tested, strict=True):
        rest = boxes(view.split(view.train))
        assert sorted(own + rest) == whole
        assert {file for file, *_ in own}.isdisjoint(file for file, *_ in rest)
    assert manifest.for_seed(4) == views[1]
