"""The model of a recorded run: this package's own is loaded without running anything that the store says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import TRUST, RunError
from tradingbot_exp.tracking import saved_model
from tradingbot_exp.tracking.model_files import loaded
from tradingbot_exp.tracking.reading.artifacts import yaml_file
from tradingbot_exp.tracking.store.errors import wrapped

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.pyfunc import PyFuncModel

    from tradingbot_exp.tracking.store.store import Store


def read_model(store: Store, run: Run, *, trust: bool = False) -> PyFuncModel:
    """Load the model of a run that has one.

    Parameters
    ----------
    store : Store
    run : Run
    trust : bool
        Whether to load any model, by the loader that it names itself. Else one of this package's alone is loaded, of a
        class that is registered already, and nothing that the store says is run.

    Raises
    ------
    RunError
        The model cannot be loaded without running what the store says, and the run is not trusted.
    TrackingError
        It cannot be read.
    """
    if trust:
        return store.model(run)
    from mlflow.models import Model
    from mlflow.pyfunc import PyFuncModel

    named = f"The model of the run {run.info.run_id} ({run.info.run_name})"
    with wrapped(f"{named} cannot be loaded"):
        meta = store.artifact(run, "model/MLmodel", _mlmodel)
        loader = meta["flavors"].get("python_function", {}).get("loader_module") if meta is not None else None
        if loader != saved_model.__name__:
            what = f"is loaded by the module {loader!r}" if loader is not None else "is not of this package"
            raise RunError(f"{named} {what}, which runs code of whoever made it. {TRUST}")

        def read(name: str) -> bytes | None:
            found: bytes | None = store.artifact(run, f"model/data/data/{name}", Path.read_bytes)
            return found

        return PyFuncModel(Model.from_dict(meta), loaded(read, named, trust=False))


def inputs_of(model: PyFuncModel) -> list[str]:
    """Return the columns that a model takes, in its order; none of one that takes features without names."""
    schema: Any = model.metadata.get_input_schema()
    return [] if schema is None else list(schema.input_names())


def _mlmodel(file: Path) -> dict[str, Any]:
    """Parse the file ``MLmodel``; nothing is made of what it names."""
    found = yaml_file(file)
    if not isinstance(found, dict) or not isinstance(found.get("flavors"), dict):
        raise ValueError("it describes no model")
    return found
