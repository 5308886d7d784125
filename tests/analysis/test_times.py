"""What stages and runs cost: the jobs' own files, GPUs where there were any, and sessions before the last."""

import os
from dataclasses import replace

import pytest
from builders.data import put
from builders.results import experiment, write_run

from iou_aware.analysis.times import clock, costs, hours, print_times
from iou_aware.common.messages import InputError

FIRST, SECOND = "shapes.retinanet.tiny.quick.72x72.seed1", "shapes.retinanet.tiny.quick.72x72.seed10"


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = {"dataset": "shapes", "scale": "72x72", "backbone": "tiny", "detector": "retinanet", "seed": [1, 10]}
    return experiment(tmp_path, runs=[run], tables={})


def job(study, stage: str, name: str | None, seconds: float, cpu: float | str, peak: float | str = 100.0) -> None:
    put(study.paths.benchmark(*filter(None, (stage, name))), f"s\tmax_rss\tcpu_time\n{seconds}\t{peak}\t{cpu}\n")


def test_a_run_costs_its_training_and_what_was_made_of_it_and_nothing_of_another(study):
    for name, seconds in [(FIRST, 100.0), (SECOND, 200.0)]:
        job(study, "train", name, seconds, 2 * seconds, peak=seconds)
        job(study, "predict", f"{name}.val", 10.0, 5.0)
        job(study, "evaluate", f"{name}.val", 4.0, 3.0, peak=300.0)
    job(study, "collect", None, 1.0, 1.0)
    job(study, "backbone", "x", 3.0, 2.0)  # which is fetched, and of no run
    stages, runs = costs(study).values()
    assert list(runs.index) == [FIRST, SECOND]
    assert runs[["jobs", "cpu", "peak"]].to_numpy().tolist() == [[3, 208.0, 300.0], [3, 408.0, 300.0]]
    assert stages["cpu"].to_dict() == {
        **{"backbone": 2.0, "train": 600.0, "predict": 10.0, "evaluate": 6.0, "collect": 1.0},
        "all": runs["cpu"].sum() + 3.0,
    }


def test_time_that_jobs_share_counts_once(study):
    ends = {"a": 100.0, "b": 104.0, "c": 103.0, "d": 120.0}  # from 90, 94, 99 and 115 on
    for name, seconds in {"a": 10.0, "b": 10.0, "c": 4.0, "d": 5.0}.items():
        job(study, "evaluate", name, seconds, 1.0)
        os.utime(study.paths.benchmark("evaluate", name), (ends[name], ends[name]))
    assert costs(study)["Stage"].loc["evaluate", ["wall", "longest", "cpu"]].tolist() == [19.0, 10.0, 4.0]


def test_times_are_printed_by_stage_and_by_run(study, capsys):
    job(study, "train", FIRST, 3723.4, 2 * 3600.0, peak=1234.4)
    job(study, "collect", None, 0.0, "NA", peak="NA")  # over before it was looked at
    print_times(study)
    stages, runs, _ = capsys.readouterr().out.split("\n\n")
    values = ["1", "1:02:03", "2.00", "0", "1:02:03", "1234"]
    stages = {name: rest for name, *rest in (line.split() for line in stages.splitlines()[1:])}
    assert list(stages) == ["train", "collect", "all"]
    assert (stages["train"], stages["all"][1:]) == (values, values[1:])
    assert stages["collect"] == ["1", "0:00", "0", "0", "0:00", "0"]
    assert runs.splitlines()[1].split() == [FIRST, *values]


@pytest.mark.parametrize(
    ("record", "gpu", "cpu"),
    [
        ({"device": "Some GPU", "processes": 4, "seconds": 900.0, "cpu_seconds": 700.0}, [3600, 10, 0, 3610], 710),
        ({"device": "cpu", "processes": 2}, [0, 0, 0, 0], 90),
        (None, [200, 10, 0, 210], 90),
    ],
)
def test_a_record_tells_the_gpus_and_all_sessions_and_without_one_gpus_are_those_asked_for(study, record, gpu, cpu):
    if record:
        write_run(study, FIRST, **record)
    job(study, "train", FIRST, 100.0, 80.0)
    for stage in ("predict", "evaluate"):
        job(study, stage, f"{FIRST}.val", 10.0, 5.0)
    stages, runs = costs(replace(study, settings={"gpus": 2})).values()
    assert stages["gpu"].tolist() == pytest.approx(gpu)
    assert runs.loc[FIRST, ["cpu", "gpu"]].tolist() == pytest.approx([cpu, gpu[-1]])


def test_files_that_are_none_are_named(study):
    with pytest.raises(InputError, match="no benchmark files"):
        costs(study)
    put(study.paths.benchmark("collect"), "seconds\n1\n")
    with pytest.raises(InputError, match=r"collect\.tsv: not a benchmark file"):
        costs(study)


def test_hours_have_three_digits_and_a_clock_is_rounded_to_seconds():
    texts = {0: "0", 45: "0.0125", 3599.99: "1.00", 13500: "3.75", 4428000: "1230"}
    assert {seconds: hours(seconds) for seconds in texts} == texts
    assert [clock(seconds) for seconds in (29.6, 123.4, 600, 3723)] == ["0:30", "2:03", "10:00", "1:02:03"]
