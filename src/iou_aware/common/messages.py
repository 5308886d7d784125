"""What the package tells people: its log, and the errors that are meant for them rather than for debuggers."""

import logging

log = logging.getLogger("iou_aware")


class InputError(ValueError):
    """Something the user gave is wrong: a configuration, an annotation file, an image, a weights file.

    The message names the file, the line or key, what was found, what was expected and what to do. The command line
    prints it without a traceback.
    """


class MachineError(InputError):
    """The machine is at fault, not what the user gave: the same command may work later, or elsewhere."""
