"""The ExperimentReporter: three HTML reports, each made from what MLflow holds and from nothing else."""

from __future__ import annotations

import html
import logging
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.errors import ReportError
from tradingbot_exp.runtime.files import holds_other
from tradingbot_exp.runtime.text import at_most
from tradingbot_exp.tracking.reading.artifacts import OF_RUNS, OF_STUDIES, not_found
from tradingbot_exp.tracking.reading.fetch import SPACE, study_record, training_record
from tradingbot_exp.tracking.reading.records import VERDICT_FILE
from tradingbot_exp.tracking.store.errors import reason
from tradingbot_exp.tracking.store.kinds import REPORT_STUDY, REPORT_TRAINING, require
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.places import local_artifacts
from tradingbot_exp.tracking.store.store import Store, open_store

if TYPE_CHECKING:
    from tradingbot_exp.reporting.page.page import Page
    from tradingbot_exp.tracking.store.types import Run

log = logging.getLogger(__name__)

REPORTS_DIR = "reports"
# How the template of a report begins, by which it is told from a user's own page.
_MARK = "<!doctype html>\n<!-- A report of tradingbot_exp"
MAX_COMPARED = 20
ARTIFACT_FOLDER = "report"
_NAME_BYTES = 80  # of a run's name in that of a file, which most file systems limit to 255 bytes


class ExperimentReporter:
    """Makes reports of what a tracking store holds.

    Parameters
    ----------
    mlflow_tracking_uri : str or Path, optional
        A URI, or a directory such as ``"mlruns"``: the database in it or beside it, or an old file store. Else
        ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the current directory.

    Notes
    -----
    A run is named by its id, by the first letters of it, or as ``latest``. Every method gives the path written,
    and raises `RunError` for a run that is not there or of the wrong kind, and `ReportError` where the report
    cannot be written; nothing is left half-written. The report of a run that this package has made is put among
    its artifacts too, as ``report/training_report.html`` or ``report/hpo_report.html``.

    Examples
    --------
    >>> reporter = ExperimentReporter(mlflow_tracking_uri="mlruns")  # doctest: +SKIP
    >>> reporter.generate_training_report("latest", "reports/training.html")  # doctest: +SKIP
    """

    def __init__(self, mlflow_tracking_uri: str | Path | None = None) -> None:
        self._given = mlflow_tracking_uri
        self._opened: Store | None = None

    @property
    def store(self) -> Store:
        """The store, opened when it is first needed."""
        if self._opened is None:
            self._opened = open_store(self._given)
        return self._opened

    def generate_training_report(
        self, run_id: str, output_path: str | Path | None = None, *, force: bool = False
    ) -> Path:
        """Report on one training run, or one trial of a study.

        Parameters
        ----------
        run_id : str
        output_path : str or Path, optional
            Else ``reports/<run's name>-<first letters of its id>.html``.
        force : bool
            Whether to write over a file that is no report.
        """
        from tradingbot_exp.reporting.training.report import training_page

        run = require(self.store, find_run(self.store, run_id, ["training", ""]), REPORT_TRAINING)
        record = training_record(self.store, run)
        missing = not_found(record.artifacts, OF_RUNS)
        path = _write(training_page(record), output_path, _file_name(run), missing, force=force)
        self._keep(run, path, "training_report.html", missing)
        return path

    def generate_hpo_report(
        self, parent_run_id: str, output_path: str | Path | None = None, *, force: bool = False
    ) -> Path:
        """Report on a study, named by its parent run.

        Parameters
        ----------
        parent_run_id : str
        output_path : str or Path, optional
            Else ``reports/<study's name>-<first letters of its run's id>.html``.
        force : bool
            Whether to write over a file that is no report.
        """
        from tradingbot_exp.reporting.study.report import study_page

        run = require(self.store, find_run(self.store, parent_run_id, ["study", "sweep"]), REPORT_STUDY)
        record = study_record(self.store, run)
        missing = not_found(record.artifacts, OF_STUDIES)
        missing += [each for each, found in ((SPACE, record.space), (VERDICT_FILE, record.verdict)) if not found]
        path = _write(study_page(record), output_path, _file_name(run), missing, force=force)
        self._keep(run, path, "hpo_report.html", missing)
        return path

    def generate_model_comparison_report(
        self, run_ids: Sequence[str], output_path: str | Path | None = None, *, force: bool = False
    ) -> Path:
        """Report on several runs side by side; the first is what the others are compared with.

        Parameters
        ----------
        run_ids : sequence of str
            2 to 20 different runs.
        output_path : str or Path, optional
            Else ``reports/comparison-<first run's name>-<first letters of its id>.html``.
        force : bool
            Whether to write over a file that is no report.
        """
        from tradingbot_exp.reporting.comparison.report import comparison_page

        if isinstance(run_ids, str) or not 2 <= len(run_ids) <= MAX_COMPARED:
            given = repr(run_ids) if isinstance(run_ids, str) else f"{len(run_ids)}"
            raise ReportError(f"A comparison takes a list of 2 to {MAX_COMPARED} runs; given: {given}.")
        runs = [
            require(self.store, find_run(self.store, run_id, ["training", ""]), REPORT_TRAINING) for run_id in run_ids
        ]
        ids = [run.info.run_id for run in runs]
        twice = next((run_id for run_id in ids if ids.count(run_id) > 1), None)
        if twice:
            raise ReportError(f"The run {twice} is named twice: a comparison takes different runs.")
        records = [training_record(self.store, run) for run in runs]
        missing = [f"{path} of {each.run.name}" for each in records for path in not_found(each.artifacts, OF_RUNS)]
        page = comparison_page(records)
        return _write(page, output_path, f"comparison-{_file_name(runs[0])}", missing, force=force)

    def _keep(self, run: Run, path: Path, name: str, missing: Sequence[str]) -> None:
        """Put a report among the artifacts of its run, unless that is another program's."""
        if "run.kind" not in run.data.tags:
            return
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / name
            try:
                folder = local_artifacts(run.info.artifact_uri, run.info.run_id)
                if "config.sha256" in run.data.tags and folder is not None and not folder.is_dir():  # it had some
                    raise ReportError(f"their folder {folder} is not there")
                kept = self.store.artifact(run, f"{ARTIFACT_FOLDER}/{name}", _text) if missing else None
                if kept is not None and _parts(kept) - _parts(_text(path)):
                    raise ReportError("the one that is there has parts that this one lacks")
                shutil.copyfile(path, copy)
                self.store.log_artifact(run.info.run_id, copy, ARTIFACT_FOLDER)
            except Exception as error:
                log.warning("The report is in %s, but not among the artifacts of its run: %s", path, reason(error))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _parts(text: str) -> set[str]:
    """Return the anchors of the sections of a report, and the titles of its figures, whichever numbers are in them."""
    found = re.findall(r'<section id="([^"]+)"|<h3 class="unseen">([^<]*)</h3>', text)
    return {re.sub(r"\d[\d.,]*", "…", html.unescape(anchor or title)) for anchor, title in found}


def _file_name(run: Run) -> str:
    """Make a file's name of a run's, of letters, digits and ``-_.``; a long one is cut, as folders allow 255 bytes."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in str(run.info.run_name))
    short = plain.encode("utf-8", "replace")[:_NAME_BYTES].decode("utf-8", "ignore")
    return f"{short}-{run.info.run_id[:8]}.html"


def _write(page: Page, output_path: str | Path | None, name: str, missing: Sequence[str], *, force: bool) -> Path:
    from tradingbot_exp.reporting.page.html import page_html, write_page

    path = Path(output_path).expanduser() if output_path is not None else Path(REPORTS_DIR) / name
    path = path if path.is_absolute() else launch_dir() / path
    try:
        if not force and holds_other(path, _MARK):
            raise ReportError(
                f"The report cannot be written to {path}: that file is there already, and is not a report of this "
                "package, so it is not written over. Give another place with -o PATH, or --force."
            )
        lost = _parts(_text(path)) - _parts(page_html(page)) if missing and not force and path.is_file() else ()
        if lost:
            raise ReportError(
                f"The report {path} stays as it is: a new one would lack {at_most(sorted(lost), 3)}, since artifacts "
                f"are not found ({at_most(missing, 6)}). Put them back, or give another place with -o PATH, or --force."
            )
        return write_page(page, path)
    except (OSError, ValueError) as error:  # a null byte in a path is a ValueError
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ReportError(f"The report cannot be written to {path}: {why}. Give another place with -o PATH.") from error
