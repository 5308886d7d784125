"""The stage ``report``: the notebook of ``reports/``, executed over the results, as one self-contained page."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iou_aware.errors import InputError
from iou_aware.files import write_text
from iou_aware.study.experiment import Experiment

logger = logging.getLogger(__name__)

# Where Jupyter, IPython and Matplotlib would write into the user's home.
FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR")


def write_report(experiment: Experiment) -> Path:
    """Execute ``reports/report.ipynb`` over the experiment's results and write ``report/index.html``.

    The page loads nothing from anywhere; its source stays without outputs.

    Raises:
        InputError: the notebook is missing, or the results it reads are missing or malformed.
    """
    source, target = experiment.paths.notebook, experiment.paths.report
    if not source.is_file():
        raise InputError(f"{source}: missing; the report is made from it")
    experiment.write_resolved()
    with tempfile.TemporaryDirectory() as scratch, _away_from_home(Path(scratch)):
        executed = Path(scratch) / "report.ipynb"
        _execute(source, executed, experiment)
        page = _page(executed, source.parent, experiment.title)
    write_text(target, page)
    logger.info("Wrote %s", target)
    return target


def _execute(source: Path, executed: Path, experiment: Experiment) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    logger.info("Executing %s over %s", source, experiment.results)
    try:
        papermill.execute_notebook(
            source,
            executed,
            parameters={"results": str(experiment.results.relative_to(experiment.root))},
            cwd=experiment.root.absolute(),
            kernel_name="python3",
            progress_bar=False,
        )
    except PapermillExecutionError as fault:
        if fault.ename == InputError.__name__:
            raise InputError(fault.evalue) from fault
        raise


def _page(notebook: Path, templates: Path, title: str) -> str:
    """Return an executed notebook as HTML without its code, by the template in ``reports/page``."""
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="page",
        extra_template_basedirs=[str(templates)],
        exclude_input=True,
        exclude_output_prompt=True,
    )
    content = nbformat.read(notebook, as_version=4)
    content.metadata["title"] = title
    return exporter.from_notebook_node(content)[0]


@contextmanager
def _away_from_home(scratch: Path) -> Iterator[None]:
    """Let Jupyter and its kernel write below ``scratch`` for as long as the block lasts."""
    before = {name: os.environ.get(name) for name in FOLDERS}
    os.environ.update({name: str(scratch / name.lower()) for name in FOLDERS})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
