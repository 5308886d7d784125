"""FCOS of the same recipe with an IoU in place of the centerness; the file of every recipe is a link to this one."""

_base_ = "./fcos.py"

custom_imports = dict(imports=["iou_aware"])
model = dict(bbox_head=dict(type="IoUAwareFCOSHeadWithoutCenterness"))
