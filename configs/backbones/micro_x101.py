"""The miniature's stand-in for ResNeXt-101: its block, a bottleneck with grouped convolutions, nine deep.

ResNeXt itself comes no shallower than 16 blocks, too deep to be learned from scratch in a minute. RegNetX is made of
the same block at any depth: here groups of 8 channels in 1, 2, 4 and 2 blocks of 24, 48, 96 and 192 channels.
"""

model = dict(
    backbone=dict(
        _delete_=True,
        type="RegNet",
        arch=dict(w0=24, wa=16.0, wm=2.0, group_w=8, depth=9, bot_mul=1.0),
        stem_channels=16,
        base_channels=16,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[24, 48, 96, 192]),
)
