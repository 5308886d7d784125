"""The Dockerfile as its instructions, and what they do, done without a container engine."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from string import Template

ROOT = Path(__file__).parents[2]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def instructions() -> list[tuple[str, str]]:
    """Return each instruction's word and the rest of it."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line]


def build(folder: Path, system: Path, **arguments: str) -> tuple[Path, dict[str, str]]:
    """Carry the instructions out, as root.

    Args:
        folder: Where to put the stages' roots.
        system: The root that stands for every base image.
        arguments: As given to ``docker build`` by ``--build-arg``.

    Returns:
        The last stage's root, and the variables that its image sets.
    """
    roots: dict[str, Path] = {}
    root, work, environment = folder, "/", {}
    for word, rest in instructions():
        parts = shlex.split(Template(rest).safe_substitute(arguments | environment) if word != "RUN" else "")
        if word == "ARG":
            name, _, default = parts[0].partition("=")
            arguments.setdefault(name, default)
        elif word == "FROM":
            root = roots[parts[-1]] = folder / f"stage{len(roots)}"
            subprocess.run(["cp", "-a", "--reflink=auto", system, root], check=True)
            work, environment = "/", {"PATH": SYSTEM_PATH}
        elif word == "WORKDIR":
            work = parts[0]
            (root / work.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "ENV":
            environment |= dict(part.split("=", 1) for part in parts)
        elif word == "COPY":
            source = ROOT
            if parts[0].startswith("--from="):
                source = roots[parts.pop(0).removeprefix("--from=")]
            copy(source, parts[:-1], root / Path(work, parts[-1]).as_posix().lstrip("/"))
        elif word == "RUN":
            run(root, arguments | environment, rest, work)
        else:
            raise ValueError(f"an instruction that nothing here knows: {word}")
    return root, environment


def copy(source: Path, names: list[str], target: Path) -> None:
    """Copy files into a folder, and a folder's content into it, as COPY does."""
    for name in names:
        path = source / name.lstrip("/")
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info") if source == ROOT else None
            shutil.copytree(path, target, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def run(root: Path, environment: dict[str, str], script: str, work: str = "/") -> str:
    """Run a shell command in a root, which has the network and, where pip is configured by PIP_..., that as well.

    CONTAINER_BINDS lists further folders or files of this machine to be seen there, as ``here:there``.
    """
    apart = ["bwrap", "--bind", root, "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc", "--cap-add", "ALL"]
    for pair in ["/etc/resolv.conf:/etc/resolv.conf", *os.environ.get("CONTAINER_BINDS", "").split()]:
        apart += ["--bind", *pair.split(":")]
    passed = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    done = subprocess.run(
        [*apart, "--chdir", work, "sh", "-ec", script],
        env=passed | environment | {"HOME": "/root"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-5000:]}"
    return done.stdout
