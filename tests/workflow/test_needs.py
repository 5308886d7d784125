"""What jobs ask of a machine: what their run needs, and never more than a node has."""

from builders.experiments import paper_with

from iou_aware.workflow.needs import MOST_OF_TRAINING, Needs

VOC = "voc0712.retinanet.r101.paper.1000x600.seed1"


def test_jobs_ask_for_what_their_run_needs(tmp_path):
    four = Needs(paper_with(tmp_path, gpus=4, workers=3))
    eight = Needs(paper_with(tmp_path, gpus=8, workers=3))
    none = Needs(paper_with(tmp_path))
    asked = {needs: (needs.training_gpus(VOC), needs.training_cores(VOC)) for needs in (four, eight, none)}
    assert (*asked[four], four.testing_gpus(VOC), four.testing_cores) == (4, 16, 1, 4)
    assert (*asked[eight], eight.testing_gpus(VOC)) == (8, 32, 1)
    assert (*asked[none], none.testing_gpus(VOC)) == (0, 1, 0)
    assert eight.training_memory(VOC, 1) == 2 * four.training_memory(VOC, 1) > none.training_memory(VOC, 1)


def test_jobs_that_are_tried_again_and_again_still_fit_a_node_and_a_partition(paper):
    """Every preemption with notice is an attempt, and the profile allows ten more than one."""
    needs, name = Needs(paper), next(iter(paper.trained))
    assert MOST_OF_TRAINING * needs.training_memory(name, 11) <= 128_000
    for asked in (
        lambda attempt: needs.memory(4000, attempt),
        lambda attempt: int(needs.testing_time(name, "val", attempt).removesuffix("m")),
        lambda attempt: int(needs.hours(2, attempt).removesuffix("h")),
    ):
        assert asked(1) < asked(2) < asked(11) == 3 * asked(1)
