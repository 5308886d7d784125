"""`make setup`, interrupted anywhere or called twice at once: what is left of it, and what the next one makes of that.

The packages are stood in for, so that nothing is fetched or compiled.
"""

import importlib
import platform
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from builders.data import program, put

ROOT = Path(__file__).parents[2]
CPU_TORCH = re.search(r"^torch==\S+", (ROOT / "requirements.lock").read_text(), re.MULTILINE)[0]
GPU_TORCH = re.search(r"torch==\S+", (ROOT / "environment.yml").read_text())[0]
INDEXES = re.findall(r"--extra-index-url (\S+)", (ROOT / "environment.yml").read_text())


@pytest.fixture
def builder(monkeypatch):
    """The script `build_mmcv.py`."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    for name in ("build_mmcv", "setup"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("build_mmcv")


@pytest.fixture
def setup(builder, tmp_path, monkeypatch):
    """The script `setup.py`, for a project in a temporary folder, on a machine without GPUs."""
    module = importlib.import_module("setup")
    for name in ("CUDA", "ARCHS", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    files = {"VENV": "", "STAMP": "iou-aware.stamp", "MADE": "iou-aware.made", "PYTHON": "bin/python"}
    for name, path in files.items():
        monkeypatch.setattr(module, name, tmp_path / ".venv" / path)
    return module


def test_an_environment_that_was_moved_is_made_anew_and_a_whole_one_is_left_alone(setup, monkeypatch):
    made = []
    monkeypatch.setattr(setup, "run", lambda *command: made.append(command) or setup.VENV.mkdir(exist_ok=True))
    setup.make_venv([])
    setup.make_venv([])
    assert len(made) == 1 and "--clear" not in made[0]
    moved = setup.VENV.rename(setup.VENV.with_name("elsewhere"))
    monkeypatch.setattr(setup, "VENV", moved)
    monkeypatch.setattr(setup, "MADE", moved / setup.MADE.name)
    setup.make_venv([])
    assert len(made) == 2 and "--clear" in made[1]


def test_a_package_is_taken_for_installed_once_pip_has_signed_it(setup, tmp_path):
    for file in ("whole-1.dist-info/METADATA", "whole-1.dist-info/INSTALLER", "half-1.dist-info/METADATA"):
        put(tmp_path / "site" / file, "")
    setup.forget_unfinished(tmp_path / "site")
    assert [folder.name for folder in (tmp_path / "site").iterdir()] == ["whole-1.dist-info"]


def test_the_second_of_two_waits_for_the_first_and_finds_it_done(setup, builder, tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "check_tools", lambda _: None)
    monkeypatch.setattr(setup, "fingerprint", lambda _: "the same sources")
    made, waiting = [], threading.Event()
    monkeypatch.setattr(setup, "set_up", lambda target: made.append(target) or waiting.set())
    monkeypatch.setattr("builtins.print", lambda *_, **__: waiting.set())
    second = threading.Thread(target=setup.main)
    with builder.alone(tmp_path, "set-up"):
        second.start()
        waiting.wait()
        setup.VENV.mkdir(exist_ok=True)
        setup.STAMP.write_text("the same sources")
    second.join()
    assert made == []


def test_what_is_being_built_is_stopped_with_all_that_it_started(setup):
    script = "import subprocess; subprocess.Popen(['cat']); print('both are there', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True, **pipes) as building:
        building.stdout.readline()
        setup.stop(building)
        assert building.returncode == -signal.SIGTERM
        assert building.stdout.read() == ""  # at its end: nobody holds it any more


def test_a_wheel_is_built_once_and_then_taken_from_the_cache(builder, tmp_path, monkeypatch):
    built, name = [], "onedl_mmcv-2.3.6-cp311.whl"
    monkeypatch.setattr(builder, "build", lambda version, work, _: built.append(version) or put(work / name, ""))
    monkeypatch.setattr(builder, "cache_key", lambda *_: "key")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for folder in ("first", "second"):
        monkeypatch.setattr(sys, "argv", ["build_mmcv.py", "2.3.6", str(tmp_path / folder)])
        builder.main()
        assert [file.name for file in (tmp_path / folder).iterdir()] == [name]
    assert built == ["2.3.6"]


def says(path: Path, text: str) -> None:
    """Write a program that prints a text."""
    program(path, f"#!/bin/sh\ncat <<END\n{text}\nEND\n")


@pytest.fixture
def machine(setup, tmp_path, monkeypatch):
    """Return a function that makes this a machine of a Python, with GPUs and a CUDA compiler, all stood in for."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def have(python="3.12.7", gpus: str = "", nvcc: str = "", glibc: str = "2.34", **environment: str) -> None:
        monkeypatch.setattr(sys, "version_info", tuple(map(int, python.split("."))))
        monkeypatch.setattr(sys, "version", f"{python} (main)")
        monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", glibc))
        if gpus:
            says(tmp_path / "bin" / "nvidia-smi", gpus.replace(" ", "\n"))
        if nvcc:
            says(tmp_path / "cuda" / "bin" / "nvcc", f"Cuda compilation tools, release {nvcc}, V{nvcc}.1")
            monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return have


@pytest.fixture
def commands(setup, monkeypatch):
    """What a set-up would run, instead of running it; a build of mmcv leaves a wheel."""
    called, popen = [], subprocess.Popen

    def run(*command: str | Path) -> None:
        called.append([str(word) for word in command])
        setup.VENV.mkdir(exist_ok=True)

    def start(command: list, **how) -> subprocess.Popen:
        if "wheels" not in str(command):
            return popen(command, **how)
        run(*command)
        command[3].mkdir(parents=True, exist_ok=True)
        (command[3] / f"onedl_mmcv-{command[2]}-built.whl").touch()
        return popen(["true"])

    monkeypatch.setattr(setup, "run", run)
    monkeypatch.setattr(setup, "compile_modules", lambda *_: None)
    monkeypatch.setattr(subprocess, "Popen", start)
    return called


def words(commands: list[list[str]]) -> list[str]:
    return [word for command in commands for word in command]


def built_for(commands: list[list[str]]) -> list[str] | None:
    """Return the compute capabilities that mmcv was built for, None where it was not."""
    builds = [command[4:] for command in commands if command[1].endswith("build_mmcv.py")]
    return builds[0] if builds else None


@pytest.mark.parametrize(
    ("has", "built"),
    [
        ({"gpus": "9.0 9.0"}, None),
        ({}, None),  # a login node: the prebuilt wheel, and `iou-aware check` on a GPU node
        ({"ARCHS": "8.9 12.0"}, None),
        ({"gpus": "8.0"}, ["8.0"]),
        ({"gpus": "9.0 8.0"}, ["8.0", "9.0"]),
        ({"gpus": "9.0", "ARCHS": "8.0,9.0"}, ["8.0", "9.0"]),
        ({"gpus": "No devices were found", "ARCHS": "7.0"}, ["7.0"]),
        ({"gpus": "9.0", "python": "3.11.5"}, ["9.0"]),
        ({"gpus": "9.0", "glibc": "2.28"}, ["9.0"]),
    ],
)
def test_mmcv_is_compiled_where_no_wheel_runs(setup, machine, commands, has, built):
    machine(**{"nvcc": "12.4", "CUDA": "1"} | has)
    target = setup.wanted()
    setup.check_tools(target)
    setup.set_up(target)
    assert built_for(commands) == built
    torch = next(command for command in commands if GPU_TORCH in command)
    mmcv = next(command for command in commands if "--force-reinstall" in command)
    assert set(INDEXES) <= set(torch)
    assert {"--only-binary", *INDEXES} <= set(mmcv) if built is None else mmcv[-1].endswith("-built.whl")
    pinned = (setup.VENV / "pins.txt").read_text().splitlines()
    assert GPU_TORCH in pinned and CPU_TORCH not in pinned and CPU_TORCH not in words(commands)
    assert not any("opencv-python==" in word for word in words(commands))


@pytest.mark.parametrize(
    ("has", "told"),
    [
        ({"gpus": "8.0"}, r"compute capability 8\.0, nvcc of CUDA 12 is needed and was not found; .*module load"),
        ({"gpus": "8.0", "nvcc": "13.0"}, r"nvcc of CUDA 12 is needed and .*/cuda/bin/nvcc is of release 13\.0; on a"),
        ({"python": "3.11.4"}, r"from 3\.11\.5 on.* is 3\.11\.4; install one"),  # Debian 12 has 3.11.2
        ({"python": "3.13.0"}, r"from 3\.11\.5 on.* is 3\.13\.0; install one"),
        ({"python": "3.11.9", "nvcc": "12.9"}, "for Python 3.12 and glibc from 2.34 on, .* no GPU is here .*ARCHS="),
        ({"glibc": "2.28", "nvcc": "12.9"}, "for Python 3.12 and glibc from 2.34 on, .* glibc 2.28, and no GPU"),
        ({"CUDA": "12.9"}, "CUDA: found '12.9', expected 1"),
        ({"ARCHS": "sm_80"}, "ARCHS: found 'sm_80', expected compute capabilities such as 8.0"),
    ],
)
def test_what_an_environment_lacks_is_told_before_anything_is_fetched(setup, machine, monkeypatch, has, told):
    machine(**{"CUDA": "1"} | has)
    real = setup.shutil.which
    here = f"{setup.VENV.parent}/cuda/bin"
    monkeypatch.setattr(setup.shutil, "which", lambda name, path=None: real(name, path=here if path else None))
    with pytest.raises(SystemExit, match=told):
        setup.check_tools(setup.wanted())


def test_a_switch_between_cpu_and_cuda_makes_a_new_environment_and_nothing_else_does(setup, machine, commands):
    def call(**environment: str) -> list[str]:
        machine(**{"CUDA": "", "ARCHS": ""} | environment)
        commands.clear()
        setup.main()
        return words(commands)

    assert GPU_TORCH not in call()
    assert call() == []
    assert {"--clear", GPU_TORCH} <= set(call(CUDA="1", ARCHS="9.0"))
    assert call() == [], "make test must not replace it"
    assert call(CUDA="1") == [], "nor a second call on a node without a GPU"
    back = set(call(CUDA="0", gpus="8.0", nvcc="12.9"))
    assert {"--clear", CPU_TORCH} <= back
    assert not {GPU_TORCH, *INDEXES} & back and built_for(commands) == [], "as the lock file says, even beside a GPU"
    assert call() == []


def test_the_build_compiles_for_the_gpus_that_it_is_told(builder, tmp_path, monkeypatch):
    says(tmp_path / "cuda" / "bin" / "nvcc", "release 12.9")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    told = {"FORCE_CUDA": "1", "TORCH_CUDA_ARCH_LIST": "8.0;9.0", "CUDA_HOME": str(tmp_path / "cuda")}
    assert builder.environment(tmp_path, ["8.0", "9.0"]).items() >= told.items()
    assert builder.environment(tmp_path, []).items() >= {"FORCE_CUDA": "0", "CUDA_VISIBLE_DEVICES": ""}.items()


def test_a_wheel_for_other_gpus_or_of_another_compiler_is_not_taken_from_the_cache(builder, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    says(tmp_path / "cuda" / "bin" / "nvcc", "release 12.9")
    keys = [builder.cache_key("2.3.6", capabilities) for capabilities in ([], ["8.0"], ["8.0", "9.0"])]
    says(tmp_path / "cuda" / "bin" / "nvcc", "release 12.4")
    assert len({*keys, builder.cache_key("2.3.6", ["8.0"])}) == 4
    assert builder.cache_key("2.3.6", []) == keys[0]


def test_which_gpus_the_prebuilt_kernels_run_on(setup):
    """NVIDIA's rule: on the same major version, from the minor one they are compiled for on."""
    known = ["7.0", "7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0"]
    assert [gpu for gpu in known if setup.wheel_runs_on(gpu)] == ["7.5", "8.6", "8.7", "8.9", "9.0"]
