"""How MMDetection trained the weights that it has released, in 12 epochs; a run of this recipe is not trained."""

_base_ = "./mmdet3.py"
