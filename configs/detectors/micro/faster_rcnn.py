"""Faster R-CNN in miniature: the pyramid of the miniature RetinaNet, few proposals, a narrow second stage."""

_base_ = ["mmdet::_base_/models/faster-rcnn_r50_fpn.py", "../../schedules/micro.py"]

model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    neck=dict(out_channels=48, start_level=1, num_outs=3, norm_cfg=dict(type="BN")),
    rpn_head=dict(
        in_channels=48,
        feat_channels=48,
        anchor_generator=dict(scales=[2, 3], strides=[8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(output_size=5, sampling_ratio=1),
            out_channels=48,
            featmap_strides=[8, 16, 32],
            # Boxes below twice this side are pooled from the finest level.
            finest_scale=32,
        ),
        bbox_head=dict(in_channels=48, fc_out_channels=128, roi_feat_size=5),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)),
)
