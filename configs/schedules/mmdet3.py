"""MMDetection 3's own schedule, with the learning rate scaled by the images per step."""

_base_ = "mmdet::_base_/schedules/schedule_1x.py"

auto_scale_lr = dict(enable=True, base_batch_size=16)
train_dataloader = dict(batch_size=16)
