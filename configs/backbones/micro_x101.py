"""The miniature's stand-in for ResNeXt-101 32x4d: bottleneck blocks with grouped convolutions, 8x4d."""

_base_ = "./micro_r50.py"

model = dict(
    backbone=dict(type="ResNeXt", depth=50, base_channels=8, groups=8, base_width=4),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
