"""Downloads continue where they broke off, from servers that allow it and from those that do not."""

import errno
import hashlib
import http.client
import random
import shutil
import ssl
import time
from collections import namedtuple

import pytest
from builders.file_server import Served, serving
from builders.full_disk import mount

from iou_aware.common.errors import InputError
from iou_aware.data.download import download

CONTENT = random.Random(0).randbytes(300_000)


def checksum(content=CONTENT, kind="sha256"):
    return f"{kind}:{hashlib.new(kind, content).hexdigest()}"


def fetched(tmp_path, served, check=None, size=None, name="a.bin"):
    """Download one file from a server of its own and return it."""
    target = tmp_path / name
    with serving({"/a": served}) as address:
        download([f"{address}/a"], target, check or checksum(), size)
    return target


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_file_is_downloaded_and_verified(tmp_path, kind):
    target = fetched(tmp_path, Served(CONTENT), checksum(kind=kind), len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_that_is_there_is_not_downloaded_again(tmp_path):
    served = Served(CONTENT)
    for _ in range(2):
        fetched(tmp_path, served)
    assert len(served.asked) == 1
    (tmp_path / "a.bin").write_bytes(b"spoiled")
    assert fetched(tmp_path, served).read_bytes() == CONTENT


def test_a_connection_that_is_cut_is_continued(tmp_path):
    served = Served(CONTENT, cuts=[100_000, 0, 50_000])
    assert fetched(tmp_path, served).read_bytes() == CONTENT
    assert served.asked == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]


@pytest.mark.parametrize("fault", [OSError(errno.EHOSTUNREACH, "No route to host"), ssl.SSLError("bad record mac")])
@pytest.mark.parametrize("place", ["getresponse", "read"])
def test_a_network_that_gives_out_is_continued(tmp_path, monkeypatch, fault, place):
    """None of these is a ConnectionError."""
    whole = http.client.HTTPConnection.getresponse
    broken = iter([fault])

    def stumble(*_):
        for error in broken:
            raise error

    def getresponse(connection):
        if place == "getresponse":
            stumble()
        response = whole(connection)
        if place == "read":
            read = response.read1
            monkeypatch.setattr(response, "read1", lambda *size: stumble() or read(*size))
        return response

    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", getresponse)
    assert fetched(tmp_path, Served(CONTENT)).read_bytes() == CONTENT


def test_a_later_call_continues_too(tmp_path):
    served = Served(CONTENT, cuts=[100_000, 0, 0, 0])
    with pytest.raises(InputError, match=r"could not be fetched.*Connection broken"):
        fetched(tmp_path, served)
    assert (tmp_path / "a.bin.part").stat().st_size == 100_000
    assert fetched(tmp_path, served).read_bytes() == CONTENT
    assert served.asked[-1] == "bytes=100000-"


def test_a_server_that_ignores_ranges_is_asked_for_everything(tmp_path):
    served = Served(CONTENT, ranges=False, cuts=[100_000])
    assert fetched(tmp_path, served).read_bytes() == CONTENT


def test_a_server_that_sends_another_part_is_not_believed(tmp_path):
    served = Served(CONTENT, cuts=[100_000], wrong_range=True)
    assert fetched(tmp_path, served).read_bytes() == CONTENT
    assert served.asked == [None, "bytes=100000-", None]


@pytest.mark.parametrize("spoiled", [b"x" * 1000, b"x" * len(CONTENT), CONTENT + b"x"])
def test_parts_that_do_not_belong_together_are_thrown_away(tmp_path, spoiled):
    (tmp_path / "a.bin.part").write_bytes(spoiled)
    assert fetched(tmp_path, Served(CONTENT)).read_bytes() == CONTENT


def test_a_part_that_is_complete_is_used(tmp_path):
    served = Served(CONTENT)
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert fetched(tmp_path, served).read_bytes() == CONTENT
    assert served.asked == [f"bytes={len(CONTENT)}-"]


def test_a_wrong_checksum_is_refused_and_the_file_does_not_appear(tmp_path):
    with pytest.raises(InputError) as caught:
        fetched(tmp_path, Served(CONTENT[:-1] + b"x"))
    assert f"sha256 is {hashlib.sha256(CONTENT[:-1] + b'x').hexdigest()}, expected {checksum()[7:]}" in str(
        caught.value
    )
    assert not list(tmp_path.iterdir())


def test_a_wrong_size_is_refused_before_anything_is_downloaded(tmp_path):
    with pytest.raises(InputError, match=f"the server's file has {len(CONTENT)} bytes, expected 5"):
        fetched(tmp_path, Served(CONTENT), size=5)


def test_passing_trouble_is_waited_out(tmp_path):
    served = Served(CONTENT, cuts=[-503, -429])
    assert fetched(tmp_path, served).read_bytes() == CONTENT


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("99999", 600.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)])
def test_a_server_is_left_alone_for_as_long_as_it_asks(tmp_path, monkeypatch, asked, waited):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    assert fetched(tmp_path, Served(CONTENT, cuts=[-503], retry_after=asked)).read_bytes() == CONTENT
    assert pauses == [waited]


def test_a_mirror_takes_over(tmp_path):
    good, spoiled = Served(CONTENT), Served(CONTENT[:-1] + b"x")
    with serving({"/good": good, "/spoiled": spoiled}) as address:
        urls = [f"{address}/{name}" for name in ("missing", "spoiled", "good")]
        download(urls, tmp_path / "a.bin", checksum())
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_mirror_continues_what_another_began(tmp_path):
    first, second = Served(CONTENT, cuts=[100_000, 0, 0, 0]), Served(CONTENT)
    with serving({"/first": first, "/second": second}) as address:
        download([f"{address}/first", f"{address}/second"], tmp_path / "a.bin", checksum())
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert second.asked == ["bytes=100000-"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_file_that_has_moved_is_fetched_where_it_is_now_and_continued_there(tmp_path, status):
    moved, old = Served(CONTENT, cuts=[100_000]), Served(b"", redirect=(status, "/elsewhere/a"))
    with serving({"/old": old, "/elsewhere/a": moved}) as address:
        download([f"{address}/old"], tmp_path / "a.bin", checksum())
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert moved.asked == [None, "bytes=100000-"]


def test_a_redirect_to_something_else_is_found_out_by_the_checksum(tmp_path):
    page, old, good = Served(b"<html>We have moved</html>"), Served(b"", redirect=(301, "/page")), Served(CONTENT)
    with serving({"/page": page, "/old": old, "/good": good}) as address:
        download([f"{address}/old", f"{address}/good"], tmp_path / "a.bin", checksum())
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_page_in_the_place_of_the_file_costs_nothing_of_what_arrived_before(tmp_path):
    first, page, good = Served(CONTENT, cuts=[100_000, 0, 0, 0]), Served(b"<html>", ranges=False), Served(CONTENT)
    with serving({"/first": first, "/page": page, "/good": good}) as address:
        urls = [f"{address}/{name}" for name in ("first", "page", "good")]
        download(urls, tmp_path / "a.bin", checksum(), len(CONTENT))
    assert good.asked == ["bytes=100000-"]


def test_a_redirect_in_circles_is_told_at_once_and_the_next_address_is_taken(tmp_path):
    there, back = Served(b"", redirect=(302, "/back")), Served(b"", redirect=(301, "/there"))
    with serving({"/there": there, "/back": back, "/good": Served(CONTENT)}) as address:
        with pytest.raises(InputError) as caught:
            download([f"{address}/there"], tmp_path / "a.bin", checksum())
        assert "/there: Exceeded 30 redirects" in str(caught.value)
        assert len(there.asked) + len(back.asked) <= 31, "a circle is not tried again"
        download([f"{address}/there", f"{address}/good"], tmp_path / "a.bin", checksum())
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_redirect_out_of_the_network_is_not_followed(tmp_path):
    told = r"No connection adapters were found for 'file:///etc/hostname'"
    served = Served(b"", redirect=(301, "file:///etc/hostname"))
    with serving({"/a": served}) as address, pytest.raises(InputError, match=told):
        download([f"{address}/a"], tmp_path / "a.bin")
    assert not list(tmp_path.iterdir())


def test_every_answer_is_told_when_none_is_good(tmp_path):
    with serving({"/gone": Served(CONTENT, cuts=[-410])}) as address, pytest.raises(InputError) as caught:
        download([f"{address}/missing", f"{address}/gone"], tmp_path / "a.bin", checksum())
    for part in (
        "/missing: 404 Client Error: Not Found",
        "/gone: 410 Client Error: Gone",
        "further mirrors",
        str(tmp_path / "a.bin"),
    ):
        assert part in str(caught.value)


def test_a_server_that_is_down_is_named(tmp_path):
    with serving({}) as address:
        pass
    with pytest.raises(InputError, match="Connection refused"):
        download([f"{address}/a"], tmp_path / "a.bin", checksum())


def test_without_a_checksum_nothing_is_put_together(tmp_path):
    served = Served(CONTENT)
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    with serving({"/a": served}) as address:
        download([f"{address}/a"], tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert served.asked == [None]


def test_a_server_that_does_not_say_how_much_it_sends(tmp_path):
    assert fetched(tmp_path, Served(CONTENT, length=False)).read_bytes() == CONTENT


def test_too_small_a_disk_is_noticed_beforehand(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    served = Served(CONTENT)
    with pytest.raises(InputError, match=r"0\.0 GB are still to be downloaded, but only 0\.0 GB are free\. Make room"):
        fetched(tmp_path, served)
    assert not (tmp_path / "a.bin.part").exists()


@pytest.mark.parametrize(("fault", "told"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota .* is used up")])
def test_a_disk_that_fills_up_is_told_and_what_arrived_is_kept(tmp_path, monkeypatch, fault, told):
    disk = mount(monkeypatch, room=1000, fault=fault)
    served = Served(CONTENT)
    with pytest.raises(InputError, match=rf"{told}: 1000 bytes had arrived, \d+ are free now\. .*: it continues"):
        fetched(tmp_path, served)
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:1000]
    disk.room = 10**9
    assert fetched(tmp_path, served).read_bytes() == CONTENT
    assert served.asked == [None, "bytes=1000-"]


def test_without_a_checksum_a_disk_that_fills_up_is_left_as_it_was(tmp_path, monkeypatch):
    disk = mount(monkeypatch, room=1000)
    with serving({"/a": Served(CONTENT)}) as address:
        with pytest.raises(InputError, match=r"the disk is full: 1000 bytes .* it starts over, for want of a checksum"):
            download([f"{address}/a"], tmp_path / "a.bin")
        assert not list(tmp_path.iterdir())
        disk.room = 10**9
        download([f"{address}/a"], tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
