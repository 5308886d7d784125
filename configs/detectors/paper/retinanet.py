"""RetinaNet as in MMDetection 1.x, which the authors extended: its anchors and smooth L1, boxes without area kept.

Box coder, assigner and NMS are MMDetection 3's: in continuous coordinates they are what 1.x computes with its + 1.
"""

_base_ = ["mmdet::_base_/models/retinanet_r50_fpn.py", "../../schedules/paper.py"]

custom_imports = dict(imports=["iou_aware"])
model = dict(
    bbox_head=dict(
        anchor_generator=dict(type="RoundedAnchorGenerator"),
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=1.0),
    ),
    test_cfg=dict(min_bbox_size=-1),
)
