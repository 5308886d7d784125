"""The errors of the package that are meant for people rather than for debuggers."""


class InputError(ValueError):
    """Something the user gave is wrong: a configuration, an annotation file, an image, a weights file.

    The message names the file, the line or key, what was found, what was expected and what to do. The command line
    prints it without a traceback.
    """


class MachineError(InputError):
    """The machine is at fault, not what the user gave: the same command may work later, or elsewhere."""
