"""Downloads continue where they broke off, from servers that allow it and from those that do not."""

import hashlib
import random
import shutil
import time
from unittest.mock import Mock

import pytest
from builders.file_server import Served, serving

from iou_aware.common.messages import InputError
from iou_aware.data.download import download

CONTENT = random.Random(0).randbytes(300_000)
HALF = 1 << 17


def checksum(content=CONTENT, kind="sha256"):
    return f"{kind}:{hashlib.new(kind, content).hexdigest()}"


WHOLE = checksum()


def fetched(tmp_path, *served, check=WHOLE):
    """Download a file that is served at several addresses and return its content."""
    with serving({f"/{number}": file for number, file in enumerate(served)}) as address:
        download([f"{address}/{number}" for number in range(len(served))], tmp_path / "a.bin", check)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    return (tmp_path / "a.bin").read_bytes()


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_file_is_verified_and_not_downloaded_again(tmp_path, kind):
    served = Served(CONTENT)
    for _ in range(2):
        assert fetched(tmp_path, served, check=checksum(kind=kind)) == CONTENT
    assert len(served.asked) == 1
    (tmp_path / "a.bin").write_bytes(b"spoiled")
    assert fetched(tmp_path, served) == CONTENT


@pytest.mark.parametrize("less", [{"ranges": False, "cuts": [HALF]}, {"length": False}])
def test_a_server_that_ignores_ranges_or_states_no_length_is_enough(tmp_path, less):
    assert fetched(tmp_path, Served(CONTENT, **less)) == CONTENT


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"x", b"x" * len(CONTENT), b"x" * 1000, CONTENT[:HALF]])
def test_a_complete_part_is_used_and_parts_that_do_not_belong_together_are_thrown_away(tmp_path, part):
    """What lies there is another file's, or the server sends another part than it was asked for."""
    served = Served(CONTENT, wrong_range=part == CONTENT[:HALF])
    (tmp_path / "a.bin.part").write_bytes(part)
    assert fetched(tmp_path, served) == CONTENT
    assert served.asked == [f"bytes={len(part)}-"] + [None] * (part != CONTENT)


def test_a_wrong_checksum_is_refused_and_the_file_does_not_appear(tmp_path):
    wrong = CONTENT[:-1] + b"x"
    with pytest.raises(InputError, match=f"sha256 is {checksum(wrong)[7:]}, expected {checksum()[7:]}"):
        fetched(tmp_path, Served(wrong))
    assert not list(tmp_path.iterdir())


def test_a_connection_that_is_cut_is_continued_after_pauses_that_grow_while_nothing_new_arrives(tmp_path, monkeypatch):
    pauses, served = [], Served(CONTENT, cuts=[HALF, -503, 0, 1 << 16, -429])
    monkeypatch.setattr(time, "sleep", pauses.append)
    with serving({"/a": served}) as address:
        monkeypatch.setattr("iou_aware.data.download.PAUSE", 2.0)
        download([f"{address}/a"], tmp_path / "a.bin", checksum())
    assert served.asked == [None, *[f"bytes={HALF}-"] * 3, *[f"bytes={HALF + (1 << 16)}-"] * 2]
    assert pauses == [2.0, 2.0, 4.0, 2.0, 2.0]


def test_a_later_call_continues_what_another_began_at_a_mirror_that_has_moved_too(tmp_path):
    gone, cut = Served(CONTENT, cuts=[-410]), Served(CONTENT, cuts=[HALF, 0, 0, 0])
    with pytest.raises(InputError, match=r"/0: 410.*/1: .*Connection broken"):
        fetched(tmp_path, gone, cut)
    assert (tmp_path / "a.bin.part").stat().st_size == HALF
    moved, whole = Served(b"", redirect=(302, "/1")), Served(CONTENT)
    assert fetched(tmp_path, moved, whole) == CONTENT
    assert whole.asked == [f"bytes={HALF}-"]


def test_a_redirect_in_circles_is_told_at_once_and_the_next_address_is_taken(tmp_path):
    there, back = Served(b"", redirect=(302, "/1")), Served(b"", redirect=(301, "/0"))
    with pytest.raises(InputError, match="/0: Exceeded 30 redirects"):
        fetched(tmp_path, there, back)
    assert len(there.asked) + len(back.asked) <= 62, "a circle is not tried again"
    assert fetched(tmp_path, there, back, Served(CONTENT)) == CONTENT


def test_every_answer_is_told_when_none_is_good(tmp_path):
    with serving({}) as stopped:
        pass
    told = rf"/missing: 404 Client Error: Not Found.*Connection refused.* {tmp_path}/a\.bin.*further mirrors"
    with serving({}) as address, pytest.raises(InputError, match=told):
        download([f"{address}/missing", f"{stopped}/a"], tmp_path / "a.bin", checksum())


def test_without_a_checksum_nothing_is_put_together(tmp_path):
    served = Served(CONTENT, cuts=[HALF])
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    assert fetched(tmp_path, served, check=None) == CONTENT
    assert served.asked == [None, None]


def test_too_small_a_disk_is_noticed_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", Mock(return_value=Mock(free=1000)))
    with pytest.raises(InputError, match=r"0\.0 GB are still to be downloaded, but only 0\.0 GB are free\. Make room"):
        fetched(tmp_path, Served(CONTENT))
    assert not list(tmp_path.iterdir())
