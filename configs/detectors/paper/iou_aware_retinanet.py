"""RetinaNet of the same recipe with the paper's IoU prediction head; the file of every recipe is a link to this one."""

_base_ = "./retinanet.py"

custom_imports = dict(imports=["iou_aware"])
model = dict(
    bbox_head=dict(
        type="IoUAwareRetinaHead",
        loss_iou=dict(type="IoUPredictionLoss", kind="bce", loss_weight=1.0),
        target_grad=False,
    ),
    test_cfg=dict(rule="alpha=0.50"),
)
