"""How far down its ranking a rule has to look before the cap of detections is full."""

from collections.abc import Sequence

from iou_aware.method.confidence import Rule

ANCHORS, PAIRS = 512, 1536
STEP = 8


class Depth:
    """A guess for each rule, learnt from the batches so far.

    Looking too shallow costs a second look, looking too deep the comparison of boxes that nobody asks for; what is
    found is the same. So a guess follows the deepest image of a batch upwards at once, downwards slowly. Anchors are
    guessed in steps, so that most rules guess the same and are ranked together.
    """

    def __init__(self) -> None:
        self._needed: dict[Rule, tuple[int, int]] = {}

    def guess(self, rules: Sequence[Rule], factor: int) -> tuple[list[int], int]:
        """Return how many anchors each rule should look at, and how many (anchor, class) pairs all of them."""
        needed = [self._needed.get(rule, (ANCHORS, PAIRS)) for rule in rules]
        return [-(-anchors // STEP) * STEP * factor for anchors, _ in needed], max(
            pairs for _, pairs in needed
        ) * factor

    def learn(self, rules: Sequence[Rule], anchors: Sequence[int], pairs: Sequence[int]) -> None:
        """Take note of how many anchors and pairs each rule's deepest image of a batch needed."""
        for rule, *seen in zip(rules, anchors, pairs, strict=True):
            now = [number + number // 32 + 4 for number in seen]
            before = self._needed.get(rule, now)
            self._needed[rule] = tuple(max(new, (15 * old + new) // 16) for new, old in zip(now, before, strict=True))
