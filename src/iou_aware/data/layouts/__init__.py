"""How annotations lie on disk, a layout a module, which `iou_aware.data.source` describes."""
