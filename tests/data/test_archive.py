"""Archives: good ones are extracted, and a bad one harms nothing."""

import io
import stat
import tarfile
import zipfile
import zlib

import pytest
from builders.data import put

from iou_aware.common.messages import InputError
from iou_aware.data import archive
from iou_aware.data.archive import extract

FILES = {"set/a.txt": b"first", "set/deep/b.bin": bytes(range(256)) * 40, "LICENSE": b"MIT", "set/empty": b""}
LINKS = {stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE}


def packed(path, files=FILES, odd=None):
    """Write an archive of the kind that the name's ending says; ``odd`` is the file type of a further member."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.mkdir("set/folder")
            for name, content in files.items():
                opened.writestr(name, content)
            if odd:
                member = zipfile.ZipInfo("set/odd")
                member.external_attr = (odd | 0o777) << 16
                opened.writestr(member, "/etc")
        return path
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
    zeros = packed(tmp_path / "a.zip", {"zeros": bytes(archive.ALWAYS_ALLOWED + 1)})
    refused(zeros, "unpack to more than 67108864 bytes")
    zeros.unlink()
    member = tarfile.TarInfo("huge")
    member.size = 1 << 40
    refused(put(tmp_path / "a.tar", member.tobuf() + bytes(10_240)), "unpack to more than")


def test_what_compresses_as_data_do_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 0)
    path = packed(tmp_path / "a.zip", {"a": bytes(range(256)) * 4})
    assert path.stat().st_size * archive.RATIO > 1024
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
