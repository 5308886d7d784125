"""The benchmarks run, and the page shows what they found, whoever was faster."""

import os

import pytest
from builders.experiments import REPOSITORY
from builders.processes import python

from iou_aware.common.messages import InputError

PROVENANCE = {
    **{"cpu": "A processor", "cores": 2, "cores of the machine": 4, "threads": 2, "load": [1.5, 0, 0]},
    **{"date": "2026-01-01", "note": "shared", "git_commit": "0123456789abcdef", "git_dirty": True},
    **dict.fromkeys(
        ("python", "torch", "mmdet", "mmcv", "numpy", "pycocotools", "faster-coco-eval", "hotcoco", "snakemake"), "1.0"
    ),
}


@pytest.fixture
def modules(monkeypatch):
    """The benchmarks import each other as scripts do."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import pages
    import timing

    return pages, timing


def side(median, **rest):
    return {"what": "some work", "median": median, "min": median, "max": median} | rest


def entry(name, ours, peer, goal=None, **rest):
    ratio = ours["median"] / peer["median"] if peer else None
    return {"name": name, "unit": "s", "turns": 1, "ours": ours, "peer": peer, "ratio": ratio, "goal": goal} | rest


def test_every_benchmark_runs():
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = python("-m", "benchmarks", "--quick", "--threads", "1", cwd=REPOSITORY, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    said = ["one pass: 12 rules against one", "one pass against 12", "COCO's geometry", "NMS of", "training step"]
    said += ["faster-coco-eval", "pycocotools", "memory", "VOC conversion", "snakemake -n", "miniature study"]
    said += ["sweep rule by rule", "mmcv's NMS for each ranking"]
    assert [text for text in said if text not in done.stdout] == []


def test_a_ratio_is_the_median_over_turns_taken_together(modules, monkeypatch):
    _, timing = modules
    clock = iter([0, 1, 10, 12, 20, 23, 30, 32, 40, 42, 50, 54])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    calls = []
    found = timing.versus("x", ("a", lambda: calls.append("a")), ("b", lambda: calls.append("b")), turns=3)
    assert calls == ["a", "b"] * 4
    assert (found["ours"]["median"], found["ours"]["min"], found["ours"]["max"]) == (2, 1, 3)
    assert (found["peer"]["median"], found["peer"]["min"], found["peer"]["max"]) == (2, 2, 4)
    assert found["ratio"] == 0.5


def test_the_page_shows_the_results_between_its_markers(modules, tmp_path):
    pages, timing = modules
    results = {
        "provenance": PROVENANCE,
        "entries": [
            entry("lost", side(3.0), side(2.0), goal=1.15),
            entry("won", side(1.0), side(4.0), goal=0.5),
            entry("small", side(10.0), None, goal=100),
            entry("big", side(200.0), None, goal=100),
            timing.absent("stages", "not there"),
            entry("instead", side(1.0), side(4.0), group="ablation"),
        ],
    }
    pages.write(tmp_path, results)
    page = tmp_path / "page.md"
    part = "<!-- {0}: made by `python -m benchmarks --publish` -->\nold {0}\n<!-- end of {0} -->"
    page.write_text("\n\ntext\n\n".join(map(part.format, ("machine", "results", "ablation"))))
    pages.publish(tmp_path / "bench.json", page)
    once = page.read_text()
    rows = {line.split(" | ")[0].strip("| "): line for line in once.splitlines() if line.startswith("| ")}
    assert "ours takes 1.5 times as long" in rows["lost"] and "missed" in rows["lost"]
    assert "4 times as fast" in rows["won"] and "met" in rows["won"]
    assert "met" in rows["small"] and "missed" in rows["big"]
    assert "not there" in rows["stages"] and "instead" in rows
    assert all(said in once for said in ("A processor", "0123456789ab with changes", "shared"))
    assert "old" not in once and once.count("text") == 2
    pages.publish(tmp_path / "bench.json", page)
    assert page.read_text() == once
    with pytest.raises(InputError, match="found 0 places for machine"):
        pages.publish(tmp_path / "bench.json", tmp_path / "bench.md")
