"""`make setup`, interrupted anywhere or called twice at once: what is left of it, and what the next one makes of that.

The packages are stood in for, so that nothing is fetched or compiled.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / "tools"


@pytest.fixture
def tools(monkeypatch):
    """The modules of tools/ as a script there sees them: `setup` and `build_mmcv`."""
    monkeypatch.syspath_prepend(str(TOOLS))
    loaded = {}
    for name in ("build_mmcv", "setup"):
        spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
        loaded[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, loaded[name])
        spec.loader.exec_module(loaded[name])
    return loaded


@pytest.fixture
def setup(tools, tmp_path, monkeypatch):
    """The script `setup.py`, for a project in a temporary folder."""
    module = tools["setup"]
    for name, path in {
        "VENV": "",
        "STAMP": "iou-aware.stamp",
        "MADE": "iou-aware.made",
        "PYTHON": "bin/python",
    }.items():
        monkeypatch.setattr(module, name, tmp_path / ".venv" / path)
    return module


def has_pip(setup) -> bool:
    return not subprocess.run([setup.PYTHON, "-m", "pip", "--version"], check=False, capture_output=True).returncode


def test_an_environment_that_was_killed_while_it_was_made_gets_its_pip(setup):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", setup.VENV], check=True)
    assert setup.PYTHON.exists() and not has_pip(setup)
    setup.make_venv()
    assert has_pip(setup)


def test_an_environment_that_was_moved_is_made_anew_and_a_whole_one_is_left_alone(setup, monkeypatch):
    made = []
    monkeypatch.setattr(setup, "run", lambda *command: made.append(command) or setup.VENV.mkdir(exist_ok=True))
    setup.make_venv()
    setup.make_venv()
    assert len(made) == 1 and "--clear" not in made[0]
    moved = setup.VENV.rename(setup.VENV.with_name("elsewhere"))
    monkeypatch.setattr(setup, "VENV", moved)
    monkeypatch.setattr(setup, "MADE", moved / setup.MADE.name)
    setup.make_venv()
    assert len(made) == 2 and "--clear" in made[1]


def test_a_package_is_taken_for_installed_once_pip_has_signed_it(setup, tmp_path):
    site = tmp_path / "site"
    for name, files in {"whole": ["METADATA", "RECORD", "INSTALLER"], "half": ["METADATA", "RECORD"]}.items():
        folder = site / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).touch()
    setup.forget_unfinished(site)
    assert [folder.name for folder in site.iterdir()] == ["whole-1.0.dist-info"]


def test_the_second_of_two_waits_for_the_first_and_finds_it_done(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "check_tools", lambda: None)
    monkeypatch.setattr(setup, "fingerprint", lambda: "the same sources")
    made, begun, waiting, go_on = [], threading.Event(), threading.Event(), threading.Event()

    def set_up() -> None:
        made.append(threading.current_thread().name)
        setup.VENV.mkdir(exist_ok=True)
        (begun if made == ["first"] else waiting).set()
        go_on.wait()

    monkeypatch.setattr(setup, "set_up", set_up)
    monkeypatch.setattr("builtins.print", lambda text, **_: waiting.set() if "waiting" in text else None)
    first, second = (threading.Thread(target=setup.main, name=name) for name in ("first", "second"))
    first.start()
    begun.wait()
    second.start()
    waiting.wait()
    go_on.set()
    for thread in (first, second):
        thread.join()
    assert made == ["first"]


def test_what_is_being_built_is_stopped_with_all_that_it_started(setup):
    script = "import subprocess; subprocess.Popen(['cat']); print('both are there', flush=True); input()"
    read, write = os.pipe()
    builder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=read, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    builder.stdout.readline()
    setup.stop(builder)
    assert builder.returncode == -signal.SIGTERM
    assert builder.stdout.read() == ""  # at its end: nobody holds it any more
    for end in (read, write):
        os.close(end)


def test_two_that_share_a_cache_build_once(tools, tmp_path, monkeypatch):
    builder = tools["build_mmcv"]
    built = []

    def build(version: str, work: Path) -> Path:
        built.append(version)
        wheel = work / f"onedl_mmcv-{version}-cp311.whl"
        wheel.write_bytes(b"wheel" * 1000)
        return wheel

    monkeypatch.setattr(builder, "build", build)
    monkeypatch.setattr(builder, "cache_key", lambda _: "key")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # which only the main thread may
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["build_mmcv.py", "2.3.6", str(tmp_path / "wheels")])
    threads = [threading.Thread(target=builder.main) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == ["2.3.6"]
    assert [file.name for file in (tmp_path / "wheels").iterdir()] == ["onedl_mmcv-2.3.6-cp311.whl"]
    assert [file.suffix for file in (tmp_path / "cache").rglob("*.*")] == [".whl"]
