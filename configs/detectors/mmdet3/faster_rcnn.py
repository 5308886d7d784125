"""Faster R-CNN as MMDetection 3 has it."""

_base_ = ["mmdet::_base_/models/faster-rcnn_r50_fpn.py", "../../schedules/mmdet3.py"]
