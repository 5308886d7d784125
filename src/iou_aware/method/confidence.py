"""Confidence rules: how a detection's classification score and predicted IoU become the number that ranks it.

Only the rules live here, as pure functions of tensors; nothing is imported but numpy's float formatting, so that stages
which merely read rule names stay light.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from iou_aware.common.messages import InputError

if TYPE_CHECKING:
    from torch import Tensor

# The rules without a number, from p and the IoU to the confidence; one more is one more line. What a rule gives must
# lie in [0, 1] and not fall while p rises: an anchor's best class is then the same under every rule.
PLAIN = {
    "cls": lambda p, iou: p,
    "none": lambda p, iou: p * iou,
}
ALLOWED = f"{', '.join(map(repr, PLAIN))}, 'alpha=A' or 'oracle=A' with A in [0, 1]"
_MOST = 1 << 18  # rules are computed together up to so many confidences: enough for all cores, few enough for caches
_ORACLE = "oracle=0.5"  # that of ``oracle`` without a number: what ranks as p * IoU does


class Rule(str):
    """A confidence rule (the paper's Eq. 5 and its variants in Tables 3 and 4): its text, as in files, and its parts.

    Attributes:
        kind: One of ``PLAIN``, that is ``cls`` (the classification score p alone) or ``none`` (p * IoU, no exponents);
            ``alpha`` (p^alpha * IoU^(1-alpha)) or ``oracle`` (the same with the IoU of the nearest ground truth in
            place of the predicted one: the upper bound of what a better prediction of the IoU could give).
        alpha: The exponent of p, in [0, 1]; None for one of ``PLAIN``.
    """

    kind: str
    alpha: float | None

    def __new__(cls, text: str) -> Self:
        """Return the rule that ``text`` means: ``cls``, ``none``, ``alpha=0.5``, ``oracle=0.5`` (or just ``oracle``).

        Rules that mean the same are equal: the text of the result has two decimals of alpha, more where needed.

        Raises:
            InputError: If the text is no rule; the message says what is allowed.
        """
        text = str(text)
        kind, _, value = (_ORACLE if text == "oracle" else text).partition("=")
        try:
            alpha = None if text in PLAIN else float(value) + 0.0  # -0.0 becomes 0.0
        except ValueError:
            alpha = math.nan
        if text not in PLAIN and not (kind in ("alpha", "oracle") and 0 <= alpha <= 1):
            raise InputError(f"confidence rule: found {text!r}, expected {ALLOWED}")
        written = "" if alpha is None else f"={np.format_float_positional(alpha, min_digits=2)}"
        rule = super().__new__(cls, kind + written)
        rule.kind, rule.alpha = kind, alpha
        return rule


def confidence(cls_score: Tensor, iou_pred: Tensor, rule: str) -> Tensor:
    """Return the detection confidence, Eq. 5: p^alpha * IoU^(1-alpha), or the rule's variant of it.

    The ends are exact: ``cls`` and alpha 1 return p itself, alpha 0 the IoU itself. Alpha 0.5 is computed as
    sqrt(p * IoU), a correctly rounded and therefore monotone function of what ``none`` computes (the square root in
    double precision, rounded to single, is the correctly rounded one: 53 >= 2 * 24 + 2 bits): no pair of detections
    is ordered differently by the two, only a few neighbouring floats of ``none`` tie under alpha 0.5. As
    sqrt(x) >= x in [0, 1], what passes a threshold under ``none`` passes it under alpha 0.5; so the ``none`` detections
    are the front part of the alpha=0.50 ones and AP(none) <= AP(alpha=0.50). Other alphas are computed in double
    precision and rounded once, which makes a value independent of where in a tensor it stands (torch's vectorised and
    scalar single-precision powers differ in the last bit).

    Args:
        cls_score: Classification scores p in [0, 1], float32, of any shape.
        iou_pred: IoUs in [0, 1], float32, of a shape that expands to that of ``cls_score``, such as (N, 1) to (N, C).
        rule: The rule. For ``oracle``, ``iou_pred`` is to be the IoU with the nearest ground truth.

    Returns:
        Confidences in [0, 1], float32, of the shape of ``cls_score``.
    """
    return confidences(cls_score, iou_pred, [rule])[0]


def confidences(cls_score: Tensor, iou_pred: Tensor, rules: Sequence[str]) -> Tensor:
    """Return ``confidence(cls_score, iou_pred, rule)`` of R rules, (R, ...), sharing what the rules have in common."""
    rules = [Rule(rule) for rule in rules]
    result = cls_score.new_empty((len(rules), *cls_score.shape))
    powers = []
    for place, rule in enumerate(rules):
        if rule.alpha in (None, 0, 0.5, 1):
            result[place] = _without_powers(cls_score, iou_pred, rule)
        else:
            powers.append(place)
    if powers:
        log_score, log_iou = cls_score.double().log(), iou_pred.double().log()
        together = max(_MOST // max(cls_score.numel(), 1), 1)
        for start in range(0, len(powers), together):
            some = powers[start : start + together]
            alphas = log_score.new_tensor([rules[place].alpha for place in some])
            alphas = alphas.unflatten(0, (-1, *[1] * log_score.dim()))
            result[some] = (log_score * alphas).add_(log_iou * (1 - alphas)).exp_().float()
    return result


def _without_powers(cls_score: Tensor, iou_pred: Tensor, rule: Rule) -> Tensor:
    if rule.kind in PLAIN:
        return PLAIN[rule.kind](cls_score, iou_pred)
    if rule.alpha == 0.5:
        # PyTorch's own square root in single precision is off by a bit in up to a fifth of all values on a CPU.
        return (cls_score * iou_pred).double().sqrt().float()
    return cls_score if rule.alpha == 1 else iou_pred
