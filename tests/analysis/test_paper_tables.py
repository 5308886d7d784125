"""The transcribed tables against the paper's own arithmetic; the gains that the text states are held by claims."""

from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[2] / "reports" / "paper"
ALPHAS = [f"alpha_{tenths / 10:.1f}" for tenths in range(10, -1, -1)]
BEST = ["alpha_0.5", "alpha_0.4"]
THRESHOLDS = ["AP50", "AP60", "AP70", "AP80", "AP90"]
SIZES = ["AP", "AP50", "AP75", "APs", "APm", "APl"]


def table(number: int) -> pd.DataFrame:
    return pd.read_csv(FOLDER / f"table{number}.csv", index_col="row", dtype={"α": str})


@pytest.mark.parametrize(("number", "count", "cited"), [(1, 16, 7), (2, 3, 0), (3, 13, 0), (4, 13, 0), (5, 4, 0)])
def test_tables_are_complete_with_one_decimal(number, count, cited):
    content, metrics = table(number), SIZES if number < 4 else ["AP", *THRESHOLDS]
    assert len(content) == count
    assert content["cited"].sum() == cited
    assert [column for column in content if column.startswith("AP")] == metrics
    text = pd.read_csv(FOLDER / f"table{number}.csv", dtype=str)[metrics]
    assert text.apply(lambda column: column.str.fullmatch(r"\d{1,2}\.\d")).all(axis=None)


def test_tables_of_the_same_detections_agree():
    losses, sizes, thresholds = table(2)[SIZES], table(3), table(4)
    assert sizes[["α", "AP", "AP50"]].equals(thresholds[["α", "AP", "AP50"]])
    assert list(sizes.index) == ["baseline", "none", *ALPHAS]
    assert losses.loc["baseline"].equals(sizes.loc["baseline", SIZES].astype(float))
    assert list(losses.loc["bce"]) == list(sizes.loc["none", SIZES])
    assert ((thresholds["AP80"] <= sizes["AP75"]) & (sizes["AP75"] <= thresholds["AP70"])).all()


@pytest.mark.parametrize("number", [4, 5])
def test_ap_falls_with_the_iou_threshold_and_the_mean_lies_between(number):
    content = table(number)
    assert (content[THRESHOLDS].diff(axis=1).iloc[:, 1:] <= 0).all(axis=None)
    assert ((content["AP90"] < content["AP"]) & (content["AP"] < content["AP50"])).all()


@pytest.mark.parametrize("number", [3, 4])
def test_alpha_is_best_at_0_5_and_0_4_collapses_at_0_and_none_ranks_as_0_5(number):
    """``none`` only loses the detections between sqrt(0.05) and 0.05 of alpha = 0.5."""
    content = table(number).drop(columns=["α", "cited"])
    assert list(content.index[content["AP"] == content["AP"].max()]) == BEST
    assert (content.loc["alpha_0.0"] < 1).all()
    assert (content.loc["none"] <= content.loc["alpha_0.5"]).all()


def test_ap_at_a_threshold_rises_and_falls_with_alpha_once():
    """A slip of the text, which says of AP50 to AP80 without limits that they fall, or rise, as alpha falls."""
    content = table(4)
    for metric, peak in {"AP50": 3, "AP70": 6, "AP80": 8, "AP90": 9}.items():
        assert content.loc[ALPHAS[: peak + 1], metric].is_monotonic_increasing, metric
        assert content.loc[ALPHAS[peak:], metric].is_monotonic_decreasing, metric
