"""Faster R-CNN as in MMDetection 1.x: its anchors, box coder, smooth L1 and RoIAlign without the half-pixel shift."""

_base_ = ["mmdet::_base_/models/faster-rcnn_r50_fpn.py", "../../schedules/paper.py"]

model = dict(
    rpn_head=dict(
        anchor_generator=dict(type="LegacyAnchorGenerator", center_offset=0.5),
        bbox_coder=dict(type="LegacyDeltaXYWHBBoxCoder"),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0 / 9, loss_weight=1.0),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=2, aligned=False)),
        bbox_head=dict(
            bbox_coder=dict(type="LegacyDeltaXYWHBBoxCoder"),
            loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000), rcnn=dict(assigner=dict(match_low_quality=True))),
)
# MMDetection has always trained its two-stage detectors at twice RetinaNet's rate.
optim_wrapper = dict(optimizer=dict(lr=0.02))
