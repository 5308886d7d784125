"""ResNet-18, pretrained on ImageNet."""

model = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(type="Pretrained", checkpoint="https://download.pytorch.org/models/resnet18-f37072fd.pth"),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
