"""ImageNet in miniature: pictures of one shape each, drawn by the generator of the miniature's scenes.

There are more classes of shapes than any of its detection sets has. docs/miniature.md has how the settings were chosen.
"""

pretraining = dict(
    detector="micro/retinanet",  # whose backbone it is, and whose means and deviations of pixels it sees
    seed=0,
    images=6000,
    held_out=1000,  # further images, which its accuracy is measured on
    side=64,
    epochs=9,
    batch_size=32,
    lr=6e-3,
    weight_decay=0.05,
    label_smoothing=0.1,
)
