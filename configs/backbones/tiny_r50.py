"""The smallest backbone that has every stage: pretrained on a handful of drawn shapes, to try things out."""

_base_ = "./shapes_r50.py"

pretraining = dict(images=64, held_out=32, epochs=1)
