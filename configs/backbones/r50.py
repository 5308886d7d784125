"""ResNet-50, pretrained on ImageNet."""

model = dict(
    backbone=dict(
        depth=50,
        init_cfg=dict(type="Pretrained", checkpoint="https://download.pytorch.org/models/resnet50-0676ba61.pth"),
    ),
)
