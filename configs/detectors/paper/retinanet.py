"""RetinaNet as in MMDetection 1.x, which the authors extended: its anchors, box coder and smooth L1."""

_base_ = ["mmdet::_base_/models/retinanet_r50_fpn.py", "../../schedules/paper.py"]

model = dict(
    bbox_head=dict(
        anchor_generator=dict(type="LegacyAnchorGenerator", center_offset=0.5),
        bbox_coder=dict(type="LegacyDeltaXYWHBBoxCoder"),
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=1.0),
    )
)
