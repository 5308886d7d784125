"""FCOS in miniature, improved as the full-size one, with the towers of the miniature RetinaNet."""

_base_ = "./retinanet.py"

model = dict(
    type="FCOS",
    neck=dict(add_extra_convs="on_output", relu_before_extra_convs=True),
    bbox_head=dict(
        _delete_=True,
        type="FCOSHead",
        num_classes=80,
        in_channels=48,
        feat_channels=48,
        stacked_convs=2,
        norm_cfg=dict(type="GN", num_groups=8),
        strides=[8, 16, 32],
        # Half the full-size ranges, as the anchors of the other detectors.
        regress_ranges=((-1, 32), (32, 64), (64, 1e8)),
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        loss_bbox=dict(type="GIoULoss", loss_weight=1.0),
        init_cfg=dict(
            type="Kaiming",
            layer="Conv2d",
            override=[
                dict(type="Normal", name="conv_cls", std=0.01, bias_prob=0.01),
                dict(type="Normal", name="conv_reg", std=0.01),
                dict(type="Normal", name="conv_centerness", std=0.01),
            ],
        ),
    ),
    train_cfg=None,
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
