"""Fetching a dataset from a local server: it appears complete, or not at all, and a bad archive harms nothing."""

import errno
import hashlib
import io
import os
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
import yaml
from builders.data import describe, picture, prepared, put, voc_object, voc_xml
from builders.file_server import Served, serving

from iou_aware.common.messages import InputError
from iou_aware.data import fetch as fetching
from iou_aware.data.fetch import content_digest, extract, fetch

DATASETS = Path(__file__).parents[2] / "configs" / "datasets"


def zipped(files, odd=None):
    """Return a zip archive; ``odd`` is the file type of a further member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.mkdir("set/folder")
        for name, content in files.items():
            opened.writestr(name, content)
        if odd:
            member = zipfile.ZipInfo("set/odd")
            member.external_attr = (odd | 0o777) << 16
            opened.writestr(member, "/etc")
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
    manifest = prepared(project)
    assert (manifest.root, manifest.split("train").images) == (str(elsewhere), str(elsewhere))
    assert not (project / "data").exists()


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_told_and_the_next_call_goes_on(tmp_path, fault):
    told = pytest.raises(InputError, match=rf"{os.strerror(fault)}\. Make room")
    with archives_served(tmp_path) as served:
        with patch.object(fetching, "extract", side_effect=OSError(fault, os.strerror(fault))), told:
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


def test_two_fetches_do_not_mix(tmp_path):
    def meanwhile(*_: object) -> None:
        with pytest.raises(InputError, match="another fetch is at work there"):
            fetch("own", project=tmp_path)

    begun = patch.object(fetching, "_check_content", side_effect=meanwhile)
    with repository_served(tmp_path, repository_archive()), begun as check:
        fetch("own", project=tmp_path)
    check.assert_called_once()


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


FILES = {"set/a.txt": b"first", "set/deep/b.bin": bytes(range(256)) * 40, "LICENSE": b"MIT", "set/empty": b""}
LINKS = {stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE}


def packed(path, files=FILES, odd=None):
    """Write an archive of the kind that the name's ending says, with a further member as in ``zipped``."""
    if path.suffix == ".zip":
        return put(path, zipped(files, odd))
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
        if odd:
            member = tarfile.TarInfo("set/odd")
            member.type, member.linkname = LINKS.get(odd, tarfile.LNKTYPE), "/etc"
            opened.addfile(member)
    return path


def refused(path, told):
    """Extract, and expect the error and nothing left by it."""
    folder = path.parent / "out"
    with pytest.raises(InputError, match=told) as caught:
        extract(path, folder)
    assert str(path) in str(caught.value)
    assert {entry.name for entry in path.parent.iterdir()} == {path.name}


KINDS = ["a.zip", "a.tar", "a.tgz"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("select", [None, "set"])
def test_everything_or_a_folder_is_extracted(tmp_path, name, select):
    start, out = f"{select}/" if select else "", tmp_path / "out"
    expected = {key.removeprefix(start): content for key, content in FILES.items() if key.startswith(start)}
    assert extract(packed(tmp_path / name), out, select) == len(expected)
    found = [path for path in out.rglob("*") if path.is_file()]
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in found} == expected


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds nothing below 'sett', only \['LICENSE', 'set'\]"):
        extract(packed(tmp_path / "a.zip"), tmp_path / "out", "sett")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("member", ["../evil", "set/../../evil", "/evil", "set\\..\\evil"])
def test_a_name_that_leads_out_is_refused(tmp_path, name, member):
    (tmp_path / "in").mkdir()
    refused(packed(tmp_path / "in" / name, FILES | {member: b"evil"}), "evil' leads out of its folder")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", [*LINKS, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path, name, kind):
    refused(packed(tmp_path / name, odd=kind), "'set/odd' is a link, a device or encrypted")


def test_an_encrypted_member_is_refused(tmp_path):
    path = packed(tmp_path / "a.zip", {"a": b"secret"})
    content = bytearray(path.read_bytes())
    content[content.rfind(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    refused(path, "'a' is a link, a device or encrypted")


def test_a_bomb_is_refused_by_the_sizes_that_it_declares(tmp_path):
    zeros = packed(tmp_path / "a.zip", {"zeros": bytes(fetching.ALWAYS_ALLOWED + 1)})
    refused(zeros, "unpack to more than 67108864 bytes")
    zeros.unlink()
    member = tarfile.TarInfo("huge")
    member.size = 1 << 40
    refused(put(tmp_path / "a.tar", member.tobuf() + bytes(10_240)), "unpack to more than")


def test_what_compresses_as_data_do_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "ALWAYS_ALLOWED", 0)
    path = packed(tmp_path / "a.zip", {"a": bytes(range(256)) * 4})
    assert path.stat().st_size * fetching.RATIO > 1024
    assert extract(path, tmp_path / "out") == 1


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("keep", [0.0, 0.2, 0.5, 0.9])
def test_a_truncated_archive_is_refused(tmp_path, name, keep):
    path = packed(tmp_path / name, {"a": bytes(range(256)) * 400, "b": bytes(range(255)) * 400})
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(InputError, match="truncated"):
        extract(path, tmp_path / "out")


def test_damage_within_a_zip_is_discovered(tmp_path):
    path = packed(tmp_path / "a.zip", {"a": bytes(1000)})
    path.write_bytes(path.read_bytes().replace(zlib.crc32(bytes(1000)).to_bytes(4, "little"), b"crc!"))
    with pytest.raises(InputError, match=r"truncated or damaged .*CRC"):
        extract(path, tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path):
    refused(put(tmp_path / "a.zip", "<html>sign in</html>"), "is no zip or tar archive")
