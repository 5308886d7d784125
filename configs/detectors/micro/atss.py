"""ATSS in miniature, on the miniature RetinaNet, and half the full-size anchors as that has."""

_base_ = "./retinanet.py"

model = dict(
    type="ATSS",
    neck=dict(add_extra_convs="on_output"),
    bbox_head=dict(
        type="ATSSHead",
        anchor_generator=dict(octave_base_scale=4, scales_per_octave=1, ratios=[1.0]),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_bbox=dict(_delete_=True, type="GIoULoss", loss_weight=2.0),
        init_cfg=dict(
            override=[
                dict(type="Normal", name="atss_cls", std=0.01, bias_prob=0.01),
                dict(type="Normal", name="atss_reg", std=0.01),
                dict(type="Normal", name="atss_centerness", std=0.01),
            ],
        ),
    ),
    train_cfg=dict(assigner=dict(_delete_=True, type="ATSSAssigner", topk=9)),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
