"""Fetching a dataset from a local server, end to end: it appears complete, or not at all."""

import errno
import fcntl
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from builders.data import coco_content, describe, picture, prepared, put, voc_object, voc_xml, write_voc
from builders.file_server import Served, serving

from iou_aware.common.errors import InputError
from iou_aware.data.fetch import content_digest, fetch

BOX = [voc_object("cat", 1, 1, 10, 20)]


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def coco_archives():
    """Return archives of COCO's structure: annotations apart from the images of each split."""
    content = coco_content()
    images = {image["file_name"]: picture() for image in content["images"]}
    return {
        "annotations.zip": zipped({f"annotations/{split}.json": json.dumps(content) for split in ("train", "val")}),
        "train.zip": zipped({f"train/{name}": image for name, image in images.items()}),
        "val.zip": zipped({f"val/{name}": image for name, image in images.items()}),
    }


def describe_coco(project, address, archives, expected=2, **more):
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in archives.items()}
    return describe(
        project,
        layout="coco",
        splits={
            split: {"annotations": f"annotations/{split}.json", "images": split, "expected_images": expected}
            for split in ("train", "val")
        },
        fetch={"archives": [{"url": f"{address}/{name}", "md5": md5[name]} for name in archives], **more},
    )


def fetched(project, **options):
    return fetch(project, "own", **options)


def test_a_dataset_of_several_archives(tmp_path):
    archives = coco_archives()
    files = {f"/{name}": Served(content) for name, content in archives.items()}
    files["/train.zip"].cuts = [len(archives["train.zip"]) // 2]
    with serving(files) as address:
        describe_coco(tmp_path, address, archives)
        assert fetched(tmp_path) == tmp_path / "data" / "own"
        fetched(tmp_path)
    assert files["/train.zip"].asked[1:] == [f"bytes={len(archives['train.zip']) // 2}-"]
    assert sum(len(served.asked) for served in files.values()) == 4, "what is there is not fetched again"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["own"]
    assert prepared(tmp_path).split("val").counts["images"] == 2


def test_a_file_of_somebodys_does_not_choose_a_folder_outside_of_data(tmp_path):
    archives = coco_archives()
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    with serving({f"/{name}": Served(content) for name, content in archives.items()}) as address:
        file = describe_coco(project, address, archives)
        file.write_text(file.read_text().replace("root: data/own", f"root: {elsewhere}"))
        with pytest.raises(InputError, match=rf"`root` of .*own\.yaml.*expected a folder in .*--into {elsewhere}"):
            fetched(project)
        assert not elsewhere.exists() and sorted(path.name for path in tmp_path.iterdir()) == ["project"]
        assert fetched(project, folder=elsewhere) == elsewhere
        assert fetched(project) == elsewhere, "what is there is used wherever it is"


def test_a_folder_of_ones_own_choice_is_filled_and_used(tmp_path):
    archives = coco_archives()
    project, elsewhere = tmp_path / "project", tmp_path / "scratch" / "coco"
    with serving({f"/{name}": Served(content) for name, content in archives.items()}) as address:
        describe_coco(project, address, archives)
        fetched(project, folder=elsewhere, keep_archives=True)
    assert sorted(path.name for path in (tmp_path / "scratch" / ".coco.download").glob("*.zip")) == sorted(archives)
    assert prepared(project, own=elsewhere).root == str(elsewhere)
    assert not (project / "data").exists()


def test_an_interrupted_fetch_is_continued_and_shows_nothing_before_it_is_complete(tmp_path):
    archives = coco_archives()
    files = {f"/{name}": Served(content) for name, content in archives.items()}
    half = len(archives["val.zip"]) // 2
    files["/val.zip"].cuts = [half, 0, 0, 0]
    with serving(files) as address:
        file = describe_coco(tmp_path, address, archives)
        with pytest.raises(InputError, match=r"val\.zip could not be fetched"):
            fetched(tmp_path)
        assert not (tmp_path / "data" / "own").exists()
        with pytest.raises(InputError, match="iou-aware fetch own"):
            prepared(tmp_path)
        fetched(tmp_path)
    assert file.is_file()
    assert [len(files[f"/{name}"].asked) for name in archives] == [1, 1, 5]
    assert files["/val.zip"].asked[-1] == f"bytes={half}-"
    prepared(tmp_path)


def test_an_archive_that_is_not_the_published_one_is_refused(tmp_path):
    archives = coco_archives()
    files = {f"/{name}": Served(content) for name, content in archives.items()}
    files["/train.zip"].content = archives["train.zip"][:-1] + b"x"
    with serving(files) as address:
        describe_coco(tmp_path, address, archives)
        with pytest.raises(InputError, match=r"md5 is .*, expected .*: not the file that was published"):
            fetched(tmp_path)
    assert not (tmp_path / "data" / "own").exists()


def test_a_hostile_archive_with_the_right_checksum_is_refused(tmp_path):
    archives = coco_archives() | {"extra.zip": zipped({"annotations/../../../evil": b"evil"})}
    with serving({f"/{name}": Served(content) for name, content in archives.items()}) as address:
        describe_coco(tmp_path, address, archives)
        with pytest.raises(InputError, match="outside of the archive's own folder"):
            fetched(tmp_path)
    assert not list(tmp_path.rglob("evil"))
    assert not (tmp_path / "data" / "own").exists()


def test_the_number_of_images_is_checked(tmp_path):
    archives = coco_archives()
    with serving({f"/{name}": Served(content) for name, content in archives.items()}) as address:
        describe_coco(tmp_path, address, archives, expected=3)
        with pytest.raises(InputError, match=r"own is incomplete: the split 'train' has 2 images, expected 3"):
            fetched(tmp_path)
    assert not (tmp_path / "data" / "own").exists()


def test_a_folder_that_is_there_but_incomplete_is_named(tmp_path):
    write_voc(tmp_path / "data" / "own", {"train": {"a": BOX}})
    describe(
        tmp_path,
        splits={"train": {"sets": [{"folder": ".", "list": "train"}], "expected_images": 2}},
        fetch={"archives": [{"url": "http://127.0.0.1:9/a.zip"}]},
    )
    with pytest.raises(InputError, match="incomplete: the split 'train' has 1 images, expected 2"):
        fetched(tmp_path)


def test_a_dataset_without_an_address_says_so(tmp_path):
    describe(tmp_path)
    with pytest.raises(InputError, match=r"own\.yaml: own has no key `fetch`.*by hand"):
        fetched(tmp_path)


VOC_FILES = {
    "Annotations/a.xml": voc_xml(BOX),
    "ImageSets/Main/train.txt": "a\n",
    "JPEGImages/a.jpg": picture(),
}


def repository_archive(**changes):
    """Return an archive as a code host packs a repository: everything in a folder, the data in one below it."""
    return zipped(
        {f"repo-1/data/{name}": content for name, content in (VOC_FILES | changes).items()} | {"repo-1/x": ""}
    )


def describe_repository(project, address, digest):
    archive = {"url": f"{address}/1", "mirrors": [f"{address}/2"], "file": "own.zip", "select": "repo-1/data"}
    content = {"of": ["Annotations/*.xml", "ImageSets/Main/*.txt", "JPEGImages/*.jpg"], "sha256": digest}
    describe(project, fetch={"archives": [archive], "content": content})


def digest_of(files):
    """Compute the documented checksum of the content in a second way."""
    lines = [
        f"{hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()}  {name}\n"
        for name, content in sorted(files.items())
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_an_archive_without_a_checksum_is_verified_by_its_content(tmp_path):
    with serving({"/2": Served(repository_archive(), length=False)}) as address:
        describe_repository(tmp_path, address, digest_of(VOC_FILES))
        fetched(tmp_path)
    assert prepared(tmp_path).split("train").counts["boxes"] == 1
    assert content_digest(tmp_path / "data" / "own", ["*/*.xml", "*/*.jpg", "*/*/*.txt"]) == digest_of(VOC_FILES)


@pytest.mark.parametrize(
    "changes", [{"Annotations/b.xml": "<annotation/>"}, {"ImageSets/Main/train.txt": "a"}, {"JPEGImages/a.jpg": "x"}]
)
def test_other_content_is_refused_and_fetched_again(tmp_path, changes):
    served = Served(repository_archive(**changes))
    with serving({"/1": served}) as address:
        describe_repository(tmp_path, address, digest_of(VOC_FILES))
        with pytest.raises(InputError, match=r"the files differ from those that .*own\.yaml, key fetch\.content"):
            fetched(tmp_path)
        assert not list((tmp_path / "data").iterdir())
        served.content = repository_archive()
        fetched(tmp_path)
    assert prepared(tmp_path).split("train").counts["boxes"] == 1


def test_an_archive_without_a_checksum_that_is_cut_is_refused(tmp_path):
    content = repository_archive()
    with serving({"/1": Served(content[: len(content) // 2], length=False)}) as address:
        describe_repository(tmp_path, address, digest_of(VOC_FILES))
        with pytest.raises(InputError, match="truncated"):
            fetched(tmp_path)
    assert not (tmp_path / "data" / "own").exists()


@pytest.mark.parametrize("fault", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, caplog, fault):
    def flock(*_):
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(fcntl, "flock", flock)
    archives = coco_archives()
    with serving({f"/{name}": Served(content) for name, content in archives.items()}) as address:
        describe_coco(tmp_path, address, archives)
        fetched(tmp_path)
    # Where there are no locks at all, filelock falls back to a file that is one.
    assert ("cannot be locked" in caplog.text) == (fault != errno.ENOSYS)
    prepared(tmp_path)


def test_two_fetches_do_not_mix(tmp_path, monkeypatch):
    files = {"/1": Served(repository_archive())}
    with serving(files) as address:
        describe_repository(tmp_path, address, digest_of(VOC_FILES))
        refusals = []

        def meanwhile(*_: object) -> None:
            with pytest.raises(InputError, match="another fetch is at work there"):
                fetched(tmp_path)
            refusals.append(True)

        monkeypatch.setattr("iou_aware.data.fetch._check_content", meanwhile)
        fetched(tmp_path)
    assert refusals == [True]


def test_the_shipped_datasets_that_can_be_fetched_have_something_to_verify_them_by():
    for path in (Path(__file__).parents[2] / "configs" / "datasets").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        for archive in content.get("fetch", {}).get("archives", []):
            assert "md5" in archive or "sha256" in archive or "content" in content["fetch"], path
        if "fetch" in content:
            assert all("expected_images" in split for split in content["splits"].values()), path


def test_voc_is_fetched_from_more_than_one_host_each_archive_known_by_its_checksum():
    content = yaml.safe_load((Path(__file__).parents[2] / "configs" / "datasets" / "voc0712.yaml").read_text())
    archives = content["fetch"]["archives"]
    assert len(archives) == 3
    for archive in archives:
        addresses = [archive["url"], *archive["mirrors"]]
        assert {address.rsplit("/", 1)[-1] for address in addresses} == {archive["url"].rsplit("/", 1)[-1]}
        owners = {urlsplit(address).hostname.split(".", 1)[-1] for address in addresses}
        assert len(owners - {"com", "pjreddie.com"}) > 1, "two institutions, beside one that redirects in circles"
        assert len(archive["md5"]) == 32


def test_an_empty_folder_counts_as_absent(tmp_path):
    (tmp_path / "data" / "own").mkdir(parents=True)
    with serving({"/1": Served(repository_archive())}) as address:
        describe_repository(tmp_path, address, digest_of(VOC_FILES))
        fetched(tmp_path)
    assert put(tmp_path / "data" / "own" / "x", "").exists()
