"""The results of the benchmarks as a file of numbers and as tables to read."""

import json
import re
from pathlib import Path
from typing import Any

from iou_aware.common.files import write_json, write_text
from iou_aware.common.messages import InputError

HEAD = "| what | ours | peer | ours / peer | goal |\n|---|---|---|--:|--:|"
ABLATION_HEAD = "| instead of the engine's way | whole engine | with the change | times as long |\n|---|--:|--:|--:|"


def write(folder: Path, results: dict[str, Any]) -> None:
    """Write ``bench.json`` and ``bench.md``."""
    write_json(folder / "bench.json", results)
    write_text(folder / "bench.md", "\n\n".join(sections(results).values()) + "\n")


def publish(source: Path, page: Path) -> None:
    """Replace what stands between the page's markers by the tables of results.

    Raises:
        InputError: There are no results, or the page has no place for one of the tables.
    """
    if not source.is_file():
        raise InputError(f"{source}: missing; run `make bench` first")
    text = page.read_text(encoding="utf-8")
    for name, content in sections(json.loads(source.read_text())).items():
        begin, end = f"<!-- {name}: made by `python -m benchmarks --publish` -->", f"<!-- end of {name} -->"
        text, places = re.subn(
            f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})",
            lambda _, content=content: f"{content}\n",
            text,
            flags=re.S,
        )
        if places != 1:
            raise InputError(f"{page}: found {places} places for {name}, expected one between {begin} and {end}")
    write_text(page, text)


def sections(results: dict[str, Any]) -> dict[str, str]:
    """Return what is known of the machine, the table of results and that of the ablation, as Markdown."""
    entries = results["entries"]
    rows = [row(entry) for entry in entries if entry.get("group") != "ablation"]
    ablation = [ablation_row(entry) for entry in entries if entry.get("group") == "ablation"]
    return {
        "machine": machine(results["provenance"]),
        "results": "\n".join([HEAD, *rows]),
        "ablation": "\n".join([ABLATION_HEAD, *ablation]),
    }


def machine(made: dict[str, Any]) -> str:
    """Return one sentence or two on what the figures were measured with."""
    names = ("python", "torch", "mmdet", "mmcv", "numpy", "pycocotools", "faster-coco-eval", "hotcoco", "snakemake")
    versions = ", ".join(f"{name} {made[name]}" for name in names)
    commit = f"commit {(made['git_commit'] or 'unknown')[:12]}{' with changes' if made['git_dirty'] else ''}"
    cores = f"{made['cores']} of {made['cores of the machine']} cores, torch threads: {made['threads']}"
    note = f" {made['note'].rstrip('.')}." if made["note"] else ""
    return (
        f"Measured on {made['date']} at {commit}: {made['cpu']}, {cores}; load average at the end {made['load'][0]}."
        f"{note} {versions[0].upper()}{versions[1:]}."
    )


def row(entry: dict[str, Any]) -> str:
    """Return an entry as a row of the table."""
    if entry["ours"] is None:
        return f"| {entry['name']} | {entry['absent']} | | | |"
    peer = side(entry, "peer") if entry["peer"] else "-"
    return f"| {entry['name']} | {side(entry, 'ours')} | {peer} | {verdict(entry)} | {goal(entry)} |"


def side(entry: dict[str, Any], name: str) -> str:
    """Return one side's figures and what it did."""
    return f"**{figures(entry, name)}**<br>{entry[name]['what']}"


def figures(entry: dict[str, Any], name: str) -> str:
    """Return a median with its unit and, of more turns than one, the smallest and the largest."""
    values = entry[name]
    median, least, most = (number(values[key]) for key in ("median", "min", "max"))
    extremes = f" ({least} to {most})" if least != most else ""
    return f"{median}{extremes} {entry['unit']}"


def number(value: float) -> str:
    """Return three digits, or all those before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def verdict(entry: dict[str, Any]) -> str:
    """Return the ratio, and in words who is faster."""
    ratio = entry["ratio"]
    if ratio is None:
        return "-"
    words = f"{1 / ratio:.3g} times as fast" if ratio < 1 else f"ours takes {ratio:.4g} times as long"
    return f"{ratio:.4g}<br>{words}"


def goal(entry: dict[str, Any]) -> str:
    """Return the goal and whether it was met."""
    if entry["goal"] is None:
        return ""
    found = entry["ours"]["median"] if entry["ratio"] is None else entry["ratio"]
    return f"at most {entry['goal']:.4g}: {'met' if found <= entry['goal'] else 'missed'}"


def ablation_row(entry: dict[str, Any]) -> str:
    """Return an entry of the ablation as a row of its table."""
    sides = " | ".join(figures(entry, name) for name in ("ours", "peer"))
    return f"| {entry['name']} | {sides} | {1 / entry['ratio']:.3g} |"


def line(entry: dict[str, Any]) -> str:
    """Return an entry on one line."""
    if entry["ours"] is None:
        return f"{entry['name']}: {entry['absent']}"
    peer = f", peer {figures(entry, 'peer')}, ratio {entry['ratio']:.3g}" if entry["peer"] else ""
    return f"{entry['name']}: ours {figures(entry, 'ours')}{peer}"
