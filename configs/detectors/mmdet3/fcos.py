"""FCOS as MMDetection 3 has it improved, on the RetinaNet of the same recipe; that of `paper` is a link to this.

Improved are: positives around the centre of an object only, distances in units of the stride, the centerness on the
regression branch, and the GIoU loss. The backbone, and the pixels that it sees, are the recipe's.
"""

_base_ = "./retinanet.py"

model = dict(
    type="FCOS",
    neck=dict(add_extra_convs="on_output", relu_before_extra_convs=True),
    bbox_head=dict(
        _delete_=True,
        type="FCOSHead",
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        norm_on_bbox=True,
        centerness_on_reg=True,
        dcn_on_last_conv=False,
        center_sampling=True,
        conv_bias=True,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=1.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
    ),
    train_cfg=None,
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
optim_wrapper = dict(paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0))
