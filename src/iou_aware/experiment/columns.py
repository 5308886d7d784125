"""The metrics' names, which reading an experiment checks its tables' columns against; imports nothing."""

PAPER = ["AP", "AP50", "AP60", "AP70", "AP75", "AP80", "AP90", "APs", "APm", "APl"]
VOC07 = ["VOC07_AP", *(f"VOC07_AP{percent}" for percent in range(50, 100, 5))]
FURTHER = ["AP55", "AP65", "AP85", "AP95", "AR100", *VOC07]
