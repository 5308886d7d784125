"""IoU-aware RetinaNet in miniature: the miniature RetinaNet with the paper's IoU prediction head."""

_base_ = "./retinanet.py"

custom_imports = dict(imports=["iou_aware"])
model = dict(
    bbox_head=dict(
        type="IoUAwareRetinaHead",
        loss_iou=dict(type="IoUPredictionLoss", kind="bce", loss_weight=1.0),
        target_grad=False,
        init_cfg=dict(
            override=[
                dict(type="Normal", name="retina_cls", std=0.01, bias_prob=0.01),
                dict(type="Normal", name="retina_reg", std=0.01),
                dict(type="Normal", name="retina_iou", std=0.01),
            ],
        ),
    ),
    test_cfg=dict(rule="alpha=0.50", candidates="anchors"),
)
