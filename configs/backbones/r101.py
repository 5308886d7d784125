"""ResNet-101, pretrained on ImageNet."""

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101")),
)
