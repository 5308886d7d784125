"""Confidence rules: how a detection's classification score and predicted IoU become the number that ranks it.

Only the rules live here, as pure functions of tensors; nothing is imported but numpy's float formatting, so that stages
which merely read rule names stay light.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from iou_aware.common.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

# The rules without a number, from p and the IoU to the confidence; one more is one more line. What a rule gives must
# lie in [0, 1] and not fall while p rises: an anchor's best class is then the same under every rule.
PLAIN = {
    "cls": lambda p, iou: p,
    "none": lambda p, iou: p * iou,
}
ALLOWED = f"{', '.join(map(repr, PLAIN))}, 'alpha=A' or 'oracle=A' with A in [0, 1]"
_OF_ALPHA = ("alpha", "oracle")
_MOST = 1 << 18  # rules are computed together up to so many confidences: enough for all cores, few enough for caches
_ORACLE_ALPHA = 0.5  # of ``oracle`` without a number: what ranks as p * IoU does


@dataclass(frozen=True)
class Rule:
    """A confidence rule (the paper's Eq. 5 and its variants in Tables 3 and 4).

    Attributes:
        kind: One of ``PLAIN``, that is ``cls`` (the classification score p alone) or ``none`` (p * IoU, no exponents);
            ``alpha`` (p^alpha * IoU^(1-alpha)) or ``oracle`` (the same with the IoU of the nearest ground truth in
            place of the predicted one: the upper bound of what a better prediction of the IoU could give).
        alpha: The exponent of p, in [0, 1]; None for one of ``PLAIN``.

    Raises:
        InputError: If the kind is unknown or alpha is not a number in [0, 1].
    """

    kind: str
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in (*PLAIN, *_OF_ALPHA):
            raise InputError(f"confidence rule: found kind {self.kind!r}, expected {ALLOWED}")
        if (self.kind in _OF_ALPHA) != (self.alpha is not None):
            raise InputError(
                f"confidence rule {self.kind!r}: found alpha {self.alpha!r}; only kinds alpha and oracle have one"
            )
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise InputError(f"confidence rule: found alpha {self.alpha!r}, expected a number in [0, 1]")

    @classmethod
    def parse(cls, text: str | Rule) -> Rule:
        """Return the rule written as ``text``: ``cls``, ``none``, ``alpha=0.50``, ``oracle=0.50`` (or just ``oracle``).

        Raises:
            InputError: If the text is no rule; the message says what is allowed.
        """
        if isinstance(text, Rule):
            return text
        name, equals, value = str(text).partition("=")
        if not equals and name != "alpha":
            return cls(name, _ORACLE_ALPHA if name == "oracle" else None)
        try:
            alpha = float(value)
        except ValueError:
            alpha = math.nan
        if name not in _OF_ALPHA or not 0 <= alpha <= 1:
            raise InputError(f"confidence rule: found {text!r}, expected {ALLOWED}")
        return cls(name, alpha + 0.0)  # -0.0 becomes 0.0

    def __str__(self) -> str:
        """Return the text that ``parse`` reads back to an equal rule; alpha has two decimals, more where needed."""
        if self.alpha is None:
            return self.kind
        return f"{self.kind}={np.format_float_positional(self.alpha, min_digits=2)}"


def confidence(cls_score: Tensor, iou_pred: Tensor, rule: str | Rule) -> Tensor:
    """Return the detection confidence, Eq. 5: p^alpha * IoU^(1-alpha), or the rule's variant of it.

    The ends are exact: ``cls`` and alpha 1 return p itself, alpha 0 the IoU itself. Alpha 0.5 is computed as
    sqrt(p * IoU), a correctly rounded and therefore monotone function of what ``none`` computes: no pair of detections
    is ordered differently by the two, only a few neighbouring floats of ``none`` tie under alpha 0.5. As
    sqrt(x) >= x in [0, 1], what passes a threshold under ``none`` passes it under alpha 0.5; so the ``none`` detections
    are the front part of the alpha=0.50 ones and AP(none) <= AP(alpha=0.50). Other alphas are computed in double
    precision and rounded once, which makes a value independent of where in a tensor it stands (torch's vectorised and
    scalar single-precision powers differ in the last bit).

    Args:
        cls_score: Classification scores p in [0, 1], float32, of any shape.
        iou_pred: IoUs in [0, 1], float32, of a shape that expands to that of ``cls_score``, such as (N, 1) to (N, C).
        rule: The rule or its text. For ``oracle``, ``iou_pred`` is to be the IoU with the nearest ground truth.

    Returns:
        Confidences in [0, 1], float32, of the shape of ``cls_score``.
    """
    return confidences(cls_score, iou_pred, [rule])[0]


def confidences(cls_score: Tensor, iou_pred: Tensor, rules: Sequence[str | Rule]) -> Tensor:
    """Return ``confidence(cls_score, iou_pred, rule)`` of R rules, (R, ...), sharing what the rules have in common."""
    rules = [Rule.parse(rule) for rule in rules]
    found = cls_score.new_empty((len(rules), *cls_score.shape))
    powers = []
    for place, rule in enumerate(rules):
        if rule.alpha in (None, 0, 0.5, 1):
            found[place] = _without_powers(cls_score, iou_pred, rule)
        else:
            powers.append(place)
    if powers:
        log_score, log_iou = cls_score.double().log(), iou_pred.double().log()
        together = max(_MOST // max(cls_score.numel(), 1), 1)
        for start in range(0, len(powers), together):
            some = powers[start : start + together]
            alphas = log_score.new_tensor([rules[place].alpha for place in some])
            alphas = alphas.unflatten(0, (-1, *[1] * log_score.dim()))
            found[some] = (log_score * alphas).add_(log_iou * (1 - alphas)).exp_().float()
    return found


def _without_powers(cls_score: Tensor, iou_pred: Tensor, rule: Rule) -> Tensor:
    if rule.kind in PLAIN:
        return PLAIN[rule.kind](cls_score, iou_pred)
    if rule.alpha == 0.5:
        return (cls_score * iou_pred).sqrt()
    return cls_score if rule.alpha == 1 else iou_pred
