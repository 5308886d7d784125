"""Faster R-CNN as in MMDetection 1.x: its anchors, smooth L1 and RoIAlign without the half-pixel shift.

1.x pools from x1 to x2 + 1 of a region with inclusive corners, which is from edge to edge; see also `retinanet.py`.
"""

_base_ = ["mmdet::_base_/models/faster-rcnn_r50_fpn.py", "../../schedules/paper.py"]

custom_imports = dict(imports=["iou_aware"])
model = dict(
    rpn_head=dict(
        anchor_generator=dict(type="RoundedAnchorGenerator"),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0 / 9, loss_weight=1.0),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=2, aligned=False)),
        bbox_head=dict(loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0)),
    ),
    train_cfg=dict(
        # Anchors that cross the image's border are not trained on. They end on whole pixels, and MMDetection 3 asks
        # for less than the width: half a pixel more lets those pass that end with the image.
        rpn=dict(allowed_border=0.5),
        rpn_proposal=dict(max_per_img=2000, min_bbox_size=-1),
        rcnn=dict(assigner=dict(match_low_quality=True)),
    ),
    test_cfg=dict(rpn=dict(min_bbox_size=-1)),
)
# MMDetection has always trained its two-stage detectors at twice RetinaNet's rate.
optim_wrapper = dict(optimizer=dict(lr=0.02))
