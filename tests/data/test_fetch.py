"""Fetching a dataset from a local server, end to end: it appears complete, or not at all."""

import errno
import hashlib
import io
import os
import zipfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from builders.data import describe, picture, prepared, voc_object, voc_xml
from builders.file_server import Served, serving

from iou_aware.common.messages import InputError
from iou_aware.data.fetch import content_digest, fetch

DATASETS = Path(__file__).parents[2] / "configs" / "datasets"


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


VOC_FILES = {
    "Annotations/a.xml": voc_xml([voc_object("cat", 1, 1, 10, 20)]).encode(),
    "ImageSets/Main/train.txt": b"a\n",
    "JPEGImages/a.jpg": picture(),
}


@contextmanager
def archives_served(project):
    """Describe a dataset of one archive per file, each with its checksum, and serve them; yield them by folder."""
    served = {name.partition("/")[0]: Served(zipped({name: content})) for name, content in VOC_FILES.items()}
    with serving({f"/{name}.zip": file for name, file in served.items()}) as address:
        digests = {f"{address}/{name}.zip": hashlib.md5(file.content).hexdigest() for name, file in served.items()}
        describe(project, fetch={"archives": [{"url": url, "md5": digest} for url, digest in digests.items()]})
        yield served


def test_an_interrupted_fetch_is_continued_and_shows_nothing_before_it_is_complete(tmp_path):
    with archives_served(tmp_path) as served:
        served["JPEGImages"].cuts = [10, 0, 0, 0]
        with pytest.raises(InputError, match=r"JPEGImages\.zip could not be fetched"):
            fetch("own", project=tmp_path)
        assert not (tmp_path / "data" / "own").exists()
        with pytest.raises(InputError, match="iou-aware fetch own"):
            prepared(tmp_path)
        (tmp_path / "data" / "own").mkdir()  # an empty folder counts as absent
        for _ in range(2):
            assert fetch("own", project=tmp_path) == tmp_path / "data" / "own"
    # What is there is not fetched again.
    assert (len(served["Annotations"].asked), len(served["ImageSets"].asked)) == (1, 1)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["own"]
    assert prepared(tmp_path).split("train").counts["boxes"] == 1


def test_a_file_of_somebodys_does_not_choose_a_folder_outside_of_data(tmp_path):
    project, elsewhere = tmp_path / "project", tmp_path / "scratch" / "coco"
    with archives_served(project):
        file = project / "configs" / "datasets" / "own.yaml"
        file.write_text(file.read_text().replace("root: data/own", f"root: {elsewhere}"))
        with pytest.raises(InputError, match=rf"`root` of .*own\.yaml.*expected a folder in .*--into {elsewhere}"):
            fetch("own", project=project)
        assert [path.name for path in tmp_path.iterdir()] == ["project"]
        assert fetch("own", elsewhere, project) == elsewhere
        assert fetch("own", project=project) == elsewhere, "what is there is used wherever it is"
    assert prepared(project).root == str(elsewhere)
    assert not (project / "data").exists()


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_told_and_the_next_call_goes_on(tmp_path, monkeypatch, fault):
    def full(*_):
        raise OSError(fault, os.strerror(fault))

    with archives_served(tmp_path) as served:
        with monkeypatch.context() as patch, pytest.raises(InputError, match=rf"{os.strerror(fault)}\. Make room"):
            patch.setattr("iou_aware.data.fetch.extract", full)
            fetch("own", project=tmp_path)
        fetch("own", project=tmp_path)
    assert len(served["Annotations"].asked) == 1
    prepared(tmp_path)


MINIATURE = {"generator": "micro-voc", "seed": 0, "images": {"a": {"b": 1}}}


@pytest.mark.parametrize(("made", "how"), [(None, "put it there by hand"), (MINIATURE, "`iou-aware prepare`")])
def test_a_dataset_without_an_address_says_so(tmp_path, made, how):
    describe(tmp_path, generate=made)
    with pytest.raises(InputError, match=rf"own\.yaml: own has no key `fetch`.*{how}"):
        fetch("own", project=tmp_path)


def repository_archive(**changes):
    """Return an archive as a code host packs a repository: everything in a folder, the data in one below it."""
    return zipped(
        {f"repo-1/data/{name}": content for name, content in (VOC_FILES | changes).items()} | {"repo-1/x": ""}
    )


@contextmanager
def repository_served(project, content):
    """Describe a dataset that is known by the checksum of its content, and serve its archive."""
    # The documented checksum, computed in a second way.
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in VOC_FILES.items()}
    digest = hashlib.sha256("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()).hexdigest()
    served = Served(content, length=False)
    with serving({"/2": served}) as address:
        archive = {"url": f"{address}/1", "mirrors": [f"{address}/2"], "file": "own.zip", "select": "repo-1/data"}
        files = ["Annotations/*.xml", "ImageSets/Main/*.txt", "JPEGImages/*.jpg"]
        describe(project, fetch={"archives": [archive], "content": {"of": files, "sha256": digest}})
        yield served, digest


@pytest.mark.parametrize(
    "changes", [{"Annotations/b.xml": "<annotation/>"}, {"ImageSets/Main/train.txt": "a"}, {"JPEGImages/a.jpg": "x"}]
)
def test_content_verifies_an_archive_without_a_checksum_and_another_is_fetched_again(tmp_path, changes):
    with repository_served(tmp_path, repository_archive(**changes)) as (served, digest):
        with pytest.raises(InputError, match=r"the files differ from those that .*own\.yaml, key fetch\.content"):
            fetch("own", project=tmp_path)
        assert not list((tmp_path / "data").iterdir())
        served.content = repository_archive()
        fetch("own", project=tmp_path)
    assert prepared(tmp_path).split("train").counts["boxes"] == 1
    assert content_digest(tmp_path / "data" / "own", ["*/*.xml", "*/*.jpg", "*/*/*.txt"]) == digest


def test_two_fetches_do_not_mix(tmp_path, monkeypatch):
    refusals = []

    def meanwhile(*_: object) -> None:
        with pytest.raises(InputError, match="another fetch is at work there"):
            fetch("own", project=tmp_path)
        refusals.append(True)

    with repository_served(tmp_path, repository_archive()):
        monkeypatch.setattr("iou_aware.data.fetch._check_content", meanwhile)
        fetch("own", project=tmp_path)
    assert refusals == [True]


def test_the_shipped_datasets_have_something_to_verify_them_by_and_voc_more_than_one_host():
    contents = {path.stem: yaml.safe_load(path.read_text()) for path in DATASETS.glob("*.yaml")}
    for name, content in contents.items():
        archives = content.get("fetch", {}).get("archives", [])
        assert all({"md5", "sha256"} & set(archive) or "content" in content["fetch"] for archive in archives), name
        assert not archives or all("expected_images" in split for split in content["splits"].values()), name
    for archive in contents["voc0712"]["fetch"]["archives"]:
        addresses = [archive["url"], *archive["mirrors"]]
        assert len({address.rsplit("/", 1)[-1] for address in addresses}) == 1
        owners = {urlsplit(address).hostname.split(".", 1)[-1] for address in addresses}
        assert len(owners - {"com", "pjreddie.com"}) > 1, "two institutions, beside one that redirects in circles"
