"""ResNet-50, pretrained on ImageNet."""

model = dict(
    backbone=dict(depth=50, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50")),
)
