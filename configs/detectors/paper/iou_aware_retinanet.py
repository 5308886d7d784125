"""RetinaNet of the same recipe with the paper's IoU prediction head."""

_base_ = "./retinanet.py"

model = dict(
    bbox_head=dict(
        type="IoUAwareRetinaHead",
        loss_iou=dict(type="IoUPredictionLoss", kind="bce", loss_weight=1.0),
        target_grad=False,
    ),
    test_cfg=dict(rule="alpha=0.50", candidates="anchors"),
)
