"""The anchors of MMDetection 1.x, from which the authors' code grew."""

from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class RoundedAnchorGenerator(AnchorGenerator):
    """MMDetection 1.x's anchors in continuous coordinates, as MMDetection 3 has them.

    1.x centres anchors on the middle of a cell's pixels, ((s - 1) / 2, (s - 1) / 2) for a cell of s pixels, and rounds
    their corners to whole pixels. Both corners belong to the box, and 1 is added wherever a width is needed. In
    continuous coordinates the centre is (s / 2, s / 2) and a box ends where its last pixel does, at x2 + 1; what 1.x
    does with boxes is then the ordinary arithmetic, and nothing else of it has to be imitated.
    """

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: tuple[float, float] | None = None
    ) -> Tensor:
        """Return the anchors (A, 4) of the first cell of a level, of which ``base_size`` is the side."""
        center = center or (base_size / 2, base_size / 2)
        anchors = super().gen_single_level_base_anchors(base_size, scales, ratios, center)
        # The last pixel is what is rounded, and not the end: they differ where an end lies halfway.
        last = anchors.new_tensor([0.0, 0.0, 1.0, 1.0])
        return (anchors - last).round() + last
