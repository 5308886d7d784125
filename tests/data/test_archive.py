"""Archives: good ones are extracted, and a bad one harms nothing."""

import errno
import io
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple

import pytest
from builders.data import put
from builders.full_disk import mount

from iou_aware.common.errors import InputError
from iou_aware.data import archive
from iou_aware.data.archive import extract

FILES = {"set/a.txt": b"first", "set/deep/b.bin": bytes(range(256)) * 40, "LICENSE": b"MIT", "set/empty": b""}


def packed(path, files=FILES):
    """Write an archive of the kind that the name's ending says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.mkdir("set/folder")
            for name, content in files.items():
                opened.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return path


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(path, folder, told):
    """Extract, expect the error and nothing left by it, and return its message."""
    with pytest.raises(InputError, match=told) as caught:
        extract(path, folder)
    assert str(path) in str(caught.value)
    assert not folder.exists() or not tree(folder)
    assert {entry.name for entry in path.parent.iterdir()} <= {path.name, folder.name}
    return str(caught.value)


KINDS = ["a.zip", "a.tar", "a.tgz"]


@pytest.mark.parametrize("name", KINDS)
def test_everything_is_extracted(tmp_path, name):
    assert extract(packed(tmp_path / name), tmp_path / "out") == len(FILES)
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_is_selected(tmp_path, name):
    assert extract(packed(tmp_path / name), tmp_path / "out", "set") == 3
    assert tree(tmp_path / "out") == {name[4:]: content for name, content in FILES.items() if name.startswith("set/")}


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds nothing below 'sett', only \['LICENSE', 'set'\]"):
        extract(packed(tmp_path / "a.zip"), tmp_path / "out", "sett")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("member", ["../evil", "set/../../evil", "/evil", "set\\..\\evil"])
def test_a_name_that_leads_out_is_refused(tmp_path, name, member):
    (tmp_path / "in").mkdir()
    path = packed(tmp_path / "in" / name, FILES | {member: b"evil"})
    assert "'" + member.replace("\\", "\\\\") + "'" in refused(path, tmp_path / "in" / "out", "outside of the archive")
    assert not list(tmp_path.rglob("evil"))


def special(path, kind):
    """Write an archive with a member that is neither file nor folder."""
    if path.suffix == ".zip":
        member = zipfile.ZipInfo("set/odd")
        member.external_attr = (kind | 0o777) << 16
        with zipfile.ZipFile(path, "w") as opened:
            opened.writestr(member, "/etc")
            opened.writestr("set/odd/passwd", "evil")
        return path
    member = tarfile.TarInfo("set/odd")
    member.type = {stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE}.get(
        kind, tarfile.LNKTYPE
    )
    member.linkname = "/etc"
    with tarfile.open(path, "w") as opened:
        opened.addfile(member)
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path, name, kind):
    refused(special(tmp_path / name, kind), tmp_path / "out", "'set/odd' is a link or a device")


@pytest.mark.parametrize("name", ["a.zip", "a.tgz"])
def test_a_bomb_is_refused(tmp_path, name):
    path = packed(tmp_path / name, {"zeros": bytes(archive.ALWAYS_ALLOWED + 1)})
    assert path.stat().st_size < 100_000
    refused(path, tmp_path / "out", "unpacks to more than 67108864 bytes .* would fill the disk")


def test_a_bomb_that_only_declares_its_size_is_refused(tmp_path):
    member = tarfile.TarInfo("huge")
    member.size = 1 << 40
    path = put(tmp_path / "a.tar", member.tobuf() + bytes(10_240))
    refused(path, tmp_path / "out", "unpacks to more than")


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    refused(packed(tmp_path / "a.zip"), tmp_path / "out", "or 3 files")


def test_what_compresses_as_data_do_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 0)
    path = packed(tmp_path / "a.zip", {"a": bytes(range(256)) * 4})
    assert path.stat().st_size * archive.RATIO > 1024
    assert extract(path, tmp_path / "out") == 1


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("keep", [0.0, 0.2, 0.5, 0.9])
def test_a_truncated_archive_is_refused(tmp_path, name, keep):
    path = packed(tmp_path / name, {"a": bytes(range(256)) * 400, "b": bytes(range(255)) * 400})
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match="truncated"):
        extract(path, tmp_path / "out")


def test_damage_within_a_zip_is_found(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("a", b"a" * 1000)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"a" * 1000, b"a" * 999 + b"b"))
    with pytest.raises(InputError, match=r"truncated or damaged .*CRC"):
        extract(path, tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path):
    refused(put(tmp_path / "a.zip", "<html>sign in</html>"), tmp_path / "out", "is no zip or tar archive")


def test_an_encrypted_member_is_refused(tmp_path):
    path = packed(tmp_path / "a.zip", {"a": b"secret"})
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(signature, content.find(b"PK\3\4", 4)) if signature == b"PK\3\4" else content.rfind(signature)
        content[at + flags] |= 1
    path.write_bytes(content)
    refused(path, tmp_path / "out", "encrypted")


def test_too_small_a_disk_is_noticed_beforehand(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"GB are to be extracted, but only 0\.0 GB are free"):
        extract(packed(tmp_path / "a.tar"), tmp_path / "out")
    assert not tree(tmp_path / "out")


@pytest.mark.parametrize(("fault", "told"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota .* is used up")])
def test_a_disk_that_fills_up_is_told(tmp_path, monkeypatch, fault, told):
    path = packed(tmp_path / "a.tar")
    disk = mount(monkeypatch, room=3, fault=fault)
    with pytest.raises(InputError, match=rf"{told}: a\.tar needs \d+ bytes there, \d+ are free now"):
        extract(path, tmp_path / "out")
    disk.room = 10**9
    extract(path, tmp_path / "out")
    assert tree(tmp_path / "out") == FILES
