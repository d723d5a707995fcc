"""MLflow's model registry: the model of a run under a name, as ``candidate`` or as ``champion``."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from tradingbot_exp.errors import RunError, TrackingError
from tradingbot_exp.tracking.store.errors import reason, wrapped

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tradingbot_exp.tracking.store.store import Store

log = logging.getLogger(__name__)

CHAMPION, CANDIDATE = "champion", "candidate"
_PROMOTED = "tradingbot.promoted"
TAG = "registered.model"
"""On a run: the address of what was registered, ``models:/NAME/VERSION``."""

_SCHEME = "models:/"


def is_model(text: str) -> bool:
    """Tell whether `text` addresses a registered model."""
    return str(text).strip().startswith(_SCHEME)


def run_of_model(store: Store, address: str) -> str:
    """Return the id of the run whose model is registered at ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises
    ------
    RunError
        There is none.
    """
    found = re.fullmatch(rf"{_SCHEME}([^/@:]+)(?:@([^/@:]+)|/(\d+))", address.strip())
    if found is None:
        raise RunError(f"'{address}' is not a registered model: expected {_SCHEME}NAME@{CHAMPION} or {_SCHEME}NAME/3.")
    name, alias, version = found.groups()
    try:
        if alias:
            model = store.client.get_model_version_by_alias(name, alias)
        else:
            model = store.client.get_model_version(name, version)
    except Exception as error:
        raise RunError(_not_there(store, name, address, error)) from error
    if not model.run_id:
        raise RunError(f"{address} in {store.shown} is of no run, so nothing says which features it takes.")
    return str(model.run_id)


def _not_there(store: Store, name: str, address: str, error: Exception) -> str:
    """Say what there is instead."""
    try:
        versions = store.client.search_model_versions(f"name = '{name}'")
        aliases = sorted(store.client.get_registered_model(name).aliases) if versions else []
        known = sorted(str(model.name) for model in store.client.search_registered_models())
    except Exception:
        return f"{address} is not in {store.shown}: {reason(error)}"
    if versions:
        there = [*(str(each.version) for each in reversed(versions)), *(f"@{alias}" for alias in aliases)]
        return f"There is no {address} in {store.shown}; {name} has {', '.join(there)}."
    return f"There is no registered model '{name}' in {store.shown}; there are: {', '.join(known) or 'none'}."


def check_registry(client: MlflowClient, name: str | None, on_error: str) -> None:
    """Find out, before anything is trained, whether the store has a registry that can be used.

    Raises
    ------
    TrackingError
        It has none, and `on_error` is ``raise``.
    """
    if name is None or on_error != "raise":
        return
    with wrapped(f"tracking.register={name}: the store has no model registry that can be used"):
        client.search_registered_models(max_results=1)


def register_model(client: MlflowClient, name: str, run_id: str, alias: str) -> str:
    """Register the model of a run under an alias; what is registered already stays as it is.

    Parameters
    ----------
    client : MlflowClient
    name : str
        In the registry.
    run_id : str
    alias : str
        `CANDIDATE` or `CHAMPION`.

    Returns
    -------
    str
        ``models:/NAME/VERSION``.

    Raises
    ------
    TrackingError
        The run has no model, or the store cannot register it.
    """
    from mlflow.exceptions import MlflowException

    with wrapped(f"tracking.register={name}: the model of the run {run_id} is not registered"):
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        if versions:
            version = str(versions[0].version)
            if alias in client.get_registered_model(name).aliases:
                return f"{_SCHEME}{name}/{version}"
        else:
            run = client.get_run(run_id)
            if "model" not in {each.path for each in client.list_artifacts(run_id)}:
                raise TrackingError(f"tracking.register={name}: the run {run_id} has no model to register.")
            try:
                client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = f"{run.info.artifact_uri}/model"
            version = str(client.create_model_version(name, source, run_id).version)
        client.set_registered_model_alias(name, alias, version)
    return f"{_SCHEME}{name}/{version}"


def promote(client: MlflowClient, address: str) -> None:
    """Make a version the champion, once: whoever chooses another one afterwards has the last word.

    Parameters
    ----------
    client : MlflowClient
    address : str
        ``models:/NAME/VERSION``.

    Raises
    ------
    TrackingError
        The store cannot do it.
    """
    name, version = address.removeprefix(_SCHEME).rsplit("/", 1)
    with wrapped(f"{address} does not become the {CHAMPION}"):
        if _PROMOTED not in client.get_model_version(name, version).tags:
            client.set_registered_model_alias(name, CHAMPION, version)
            client.set_model_version_tag(name, version, _PROMOTED, "true")
