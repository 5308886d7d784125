"""ResNet-101, pretrained on ImageNet."""

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type="Pretrained", checkpoint="https://download.pytorch.org/models/resnet101-63fe2227.pth"),
    ),
)
