"""ResNeXt-101, 32 groups of 4 channels, pretrained on ImageNet.

The paper's tables say "32x8d"; the authors' configuration files and the baseline numbers they cite are those of 32x4d.
"""

model = dict(
    backbone=dict(
        type="ResNeXt",
        depth=101,
        groups=32,
        base_width=4,
        init_cfg=dict(
            type="Pretrained",
            checkpoint="https://download.openmmlab.com/pretrain/third_party/resnext101_32x4d-a5af3160.pth",
        ),
    ),
)
