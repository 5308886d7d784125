"""Every figure by the section of the report that shows it: what its file's name begins with, and its caption.

How sure a number is, bands and whiskers say, which every figure explains in its legend.
"""

# The longer name before the shorter.
FIGURES = {
    "Figures": {
        "alpha_gain": "What alpha gains over the baseline, by IoU threshold, beside the paper's gain where it has one",
        "alpha": "AP by alpha and IoU threshold, beside the paper's where it has it",
        "oracle": "How far a better prediction of the IoU could go: AP by alpha with the predicted and with the true "
        "IoU",
        "gain_per_threshold": "Gain over the same model without the IoU head, by IoU threshold",
        "gain_per_size": "Gain over the same model without the IoU head, by size of objects",
        "gain_per_class": "Gain over the same model without the IoU head, by class",
    },
    "Premise": {
        "premise_correlations": "Spearman's correlation of confidence with IoU, by alpha, over the detections that "
        "find an object; that of the baseline's score beside it",
        "premise_density": "Where all detections lie by confidence and IoU, of each dataset its first models. ρ is "
        "Spearman's correlation over those that find an object, of those above the line one for each",
        "premise_reliability": "The mean of the true IoU, with the nearest object of any class, against the predicted "
        "one. On the broken line it is right; larger points are more detections",
    },
    "Training": {"training": "Losses while training, by epoch"},
}


def figure_section(name: str) -> str:
    """Return the section that shows a figure, by its file name without suffix."""
    return _entry(name)[0]


def figure_caption(name: str) -> str:
    """Return what a figure shows, and which of several it is: ``training_bccd_72x72`` is one of dataset and scale."""
    _, beginning, caption = _entry(name)
    rest = name.removeprefix(beginning).strip("_").replace("_", ", ")
    return f"{caption} ({rest})." if rest else f"{caption}."


def _entry(name: str) -> tuple[str, str, str]:
    """Return a figure's section, what its name begins with, and its caption."""
    for section, captions in FIGURES.items():
        for beginning, caption in captions.items():
            if name.startswith(beginning):
                return section, beginning, caption
    raise KeyError(f"{name}: a figure that FIGURES does not list")
