"""Faster R-CNN as MMDetection has released it; see `retinanet.py`."""

released = {
    "r50": "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "r101": "mmdet::faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py",
    "x101_32x4d": "mmdet::faster_rcnn/faster-rcnn_x101-32x4d_fpn_1x_coco.py",
}
