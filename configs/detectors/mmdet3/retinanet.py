"""RetinaNet as MMDetection 3 has it."""

_base_ = ["mmdet::_base_/models/retinanet_r50_fpn.py", "../../schedules/mmdet3.py"]

optim_wrapper = dict(optimizer=dict(lr=0.01))
