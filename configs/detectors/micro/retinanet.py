"""RetinaNet in miniature: images of about 96 pixels, three pyramid levels, towers of two narrow convolutions."""

_base_ = ["mmdet::_base_/models/retinanet_r50_fpn.py", "../../schedules/micro.py"]

model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    neck=dict(out_channels=48, num_outs=3, norm_cfg=dict(type="BN")),
    bbox_head=dict(
        in_channels=48,
        feat_channels=48,
        stacked_convs=2,
        # The towers run over every pyramid level, whose statistics differ: group norm, since shared batch norm fails.
        norm_cfg=dict(type="GN", num_groups=8),
        anchor_generator=dict(octave_base_scale=2, strides=[8, 16, 32]),
        # Wider than MMDetection's 0.01 in the towers: at this learning rate one step would swamp such weights.
        init_cfg=dict(
            type="Kaiming",
            layer="Conv2d",
            override=[
                dict(type="Normal", name="retina_cls", std=0.01, bias_prob=0.01),
                dict(type="Normal", name="retina_reg", std=0.01),
            ],
        ),
    ),
)
