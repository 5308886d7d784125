"""How the authors trained: SGD, a short linear warm-up, 12 epochs with two steps, gradients clipped."""

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=12, val_interval=1)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0001),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1.0 / 3, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
# The learning rate is that of 16 images per step and scales with them (Goyal et al., 2017).
auto_scale_lr = dict(enable=True, base_batch_size=16)
train_dataloader = dict(batch_size=16)

# Images per step, over all GPUs: the first entry that fits the run counts. The authors had 4 GPUs x 4 images for the
# main results with R50, 4 x 2 for the larger backbones, and 2 x 6 for the ablations and VOC, at the smaller scale.
batch_sizes = [
    dict(scale="1000x600", batch_size=12),
    dict(backbone="r101", batch_size=8),
    dict(backbone="x101_32x4d", batch_size=8),
]

# docs/deviations.md lists what differs from the authors' trainings.
