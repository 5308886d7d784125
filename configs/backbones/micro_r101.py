"""The miniature's stand-in for ResNet-101: the stand-in for ResNet-50 made deeper, a ResNet-34."""

_base_ = "./micro_r50.py"

model = dict(backbone=dict(depth=34))
