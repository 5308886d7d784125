"""The stages ``report`` and ``notebook``: a notebook of ``reports/``, executed over the results, as one page."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iou_aware.common.files import write_text
from iou_aware.common.messages import InputError, log
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import REPORT

# Where Jupyter, IPython and Matplotlib would write into the user's home.
FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR")


def write_notebook(experiment: Experiment, name: str = REPORT) -> Path:
    """Execute ``reports/<name>.ipynb`` over the experiment's results and write its page beside the report.

    The report itself, ``report/index.html``, shows no code, the others do. A page loads nothing from anywhere; its
    source stays without outputs.

    Raises:
        InputError: the notebook is missing or is none, or the results it reads are missing or malformed; a cell of the
            report's fails. One of another's that fails is on the page with its error, and those after it are not run.
    """
    source, with_code = experiment.paths.notebook(name), name != REPORT
    target = experiment.paths.page(name) if with_code else experiment.paths.report
    if not source.is_file():
        raise InputError(f"{source}: missing; {target} is made from it")
    experiment.write_resolved()
    with tempfile.TemporaryDirectory() as scratch, _away_from_home(Path(scratch)):
        executed = Path(scratch) / source.name
        _execute(source, executed, experiment, whole=not with_code)
        about = {"title": experiment.title}
        if with_code:
            title = f"{notebook_title(source)[0]} - {experiment.title}"
            about = {"title": title, "report": experiment.paths.report.name}
        page = _page(executed, source.parent, about, with_code)
    # The tables, which are read by themselves as well, link to the report from beside it; in it, that is here.
    write_text(target, page.replace(f'href="../{target.parent.name}/{target.name}#', 'href="#'))
    log.info("Wrote %s", target)
    return target


def notebook_title(source: Path) -> tuple[str, str]:
    """Return a notebook's title and first paragraph, of which its first cell of text is made."""
    cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
    text = next(("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"), "")
    title, _, rest = text.partition("\n")
    return title.lstrip("# ") or source.stem, rest.strip().partition("\n\n")[0].replace("\n", " ")


def _execute(source: Path, executed: Path, experiment: Experiment, *, whole: bool) -> None:
    """Execute a notebook; unless the ``whole`` must run, its page gets papermill's word about a cell that fails."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    log.info("Executing %s over %s", source, experiment.results)
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
        failed = f"{source}: a cell failed. Correct it, in Jupyter say.\n{fault}"
        if whole:
            raise InputError(failed) from fault
        log.warning("%s", failed)
    except ValueError as fault:
        raise InputError(f"{source}: cannot be run as a notebook ({fault}). Correct it, or take it away.") from fault


def _page(notebook: Path, templates: Path, about: dict[str, str], with_code: bool) -> str:
    """Return an executed notebook as HTML, by the template in ``reports/page``, which knows ``about`` as ``page``."""
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import TagRemovePreprocessor

    exporter = HTMLExporter(
        template_name="page",
        extra_template_basedirs=[str(templates)],
        exclude_input=not with_code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        # The defaults; the values of this execution are in a cell of their own.
        preprocessors=[TagRemovePreprocessor(remove_cell_tags=("parameters",))],
    )
    return exporter.from_filename(str(notebook), {"page": about})[0]


@contextmanager
def _away_from_home(scratch: Path) -> Iterator[None]:
    """Let Jupyter and its kernel write below ``scratch`` within the block."""
    before = dict(os.environ)
    os.environ.update({name: str(scratch / name.lower()) for name in FOLDERS})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
