"""A detector of the user's own with the IoU mixin goes through every stage; nothing in the package knows its name."""

from builders.configs import ROOT
from builders.data import csv_rows, put
from builders.heads import IoUAwareOwnHead, OwnHead
from builders.training import RETINANET_CONFIG, RULES, project

from iou_aware import cli, detections

AWARE = "shapes.iou_aware_mine.tiny.l2.quick.64x64.seed0"
BASELINE = "shapes.mine.tiny.quick.64x64.seed0"
SWEEP = {"detector": "iou_aware_mine", "by_rule": {"alpha": None, "oracle": None}}
ROWS = {"baseline": {"detector": "mine"}, "by_alpha": SWEEP}
TABLE = {"caption": "Mine.", "split": "val", "columns": ["AP", "AP50"], "rows": ROWS}


def test_every_stage_takes_a_head_of_one_s_own(tmp_path, monkeypatch):
    for name, text in {
        "mine": RETINANET_CONFIG.replace("bbox_head=dict(", f"bbox_head=dict(type={OwnHead.__name__!r},"),
        "iou_aware_mine": f"_base_ = './mine.py'; model = dict(bbox_head=dict(type={IoUAwareOwnHead.__name__!r}))",
    }.items():
        put(tmp_path / f"configs/detectors/quick/{name}.py", text)
    for name in ("configs/costs.yaml", "reports/claims.yaml"):
        put(tmp_path / name, (ROOT / name).read_text(encoding="utf-8"))
    runs = [{"detector": "mine"}, {"detector": "iou_aware_mine", "iou_loss": "l2"}]
    study = project(tmp_path, runs=runs, tables={"mine": TABLE})
    monkeypatch.chdir(tmp_path)

    def stage(name: str, *arguments: str) -> None:
        assert cli.main([name, "configs/experiments/study.yaml", *arguments]) == 0, (name, arguments)

    assert list(study.runs) == [BASELINE, AWARE]
    stage("plan")
    for run in (BASELINE, AWARE):
        stage("train", run)
        for name in ("predict", "evaluate", "bootstrap"):
            stage(name, run, "--split", "val")
    assert detections.provenance(study.paths.detections(BASELINE, "val"))["rules"] == ["cls"]
    assert detections.provenance(study.paths.detections(AWARE, "val"))["rules"] == RULES
    for name in ("collect", "figures", "premise", "gallery"):
        stage(name)
    stage("table", "mine")
    rows = csv_rows(study.results / "tables/mine.csv")
    assert {row["baseline"] for row in rows if row["rule"] != "cls"} == {"baseline"}
    photo = next((study.root / "data/shapes/val").iterdir())
    assert cli.main(["detect", str(photo), "--weights", str(study.paths.run_folder(AWARE)), "--out", "drawn"]) == 0
    drawn = csv_rows(study.root / "drawn/detections.csv")
    assert drawn and all(0 <= float(line["iou_pred"]) <= 1 for line in drawn)
