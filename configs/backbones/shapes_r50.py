"""The miniature's stand-in for ResNet-50, pretrained on drawn shapes as the paper's is on ImageNet."""

_base_ = ["./micro_r50.py", "../schedules/shapes.py"]

model = dict(backbone=dict(init_cfg=dict(_delete_=True, type="Pretrained", checkpoint="pretraining")))
