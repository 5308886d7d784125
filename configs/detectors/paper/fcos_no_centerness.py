"""FCOS of the same recipe without centerness; the file of every recipe is a link to this one."""

_base_ = "./fcos.py"

custom_imports = dict(imports=["iou_aware"])
model = dict(bbox_head=dict(type="FCOSHeadWithoutCenterness"))
