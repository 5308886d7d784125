"""RetinaNet as MMDetection has released it: its own config for each backbone; the metafile says where the weights are.

Nothing is trained. The config is taken as it is, but for where the data lie and for the run's scale.
"""

released = {
    "r18": "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py",
    "r50": "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
    "r101": "mmdet::retinanet/retinanet_r101_fpn_1x_coco.py",
    "x101_32x4d": "mmdet::retinanet/retinanet_x101-32x4d_fpn_1x_coco.py",
}
