"""From the files of a saved model to what forecasts: nothing that they say is run unless they are trusted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.choices import model_names
from tradingbot_exp.config.modules import load_recorded_plugins
from tradingbot_exp.data.panel_scaler import from_record
from tradingbot_exp.errors import TRUST, ConfigError, RunError, TrackingError
from tradingbot_exp.models.registry import build_model
from tradingbot_exp.tracking.forecaster import MeanOfModels, SavedModel

if TYPE_CHECKING:
    from torch import nn

FILES = ("model.json", "weights.pt", "module.pt", "scaler.skops", "features.skops")
"""What a model may have beside the folder of its members."""
_MOST_MEMBERS = 10_000


def files_in(folder: Path) -> Callable[[str], bytes | None]:
    """Return what reads the files of a folder, None where there is none."""

    def read(name: str) -> bytes | None:
        file = folder / name
        return file.read_bytes() if file.is_file() else None

    return read


def loaded(read: Callable[[str], bytes | None], named: str, *, trust: bool, depth: int = 0) -> SavedModel:
    """Make a model of what `save` wrote.

    Parameters
    ----------
    read : callable
        Gives a file of the folder ``data/`` as bytes; None where there is none.
    named : str
        The model, in words.
    trust : bool
        Whether what is in the files may run code.
    depth : int
        Of a model within others, within how many.

    Raises
    ------
    RunError
        It would have to, and is not trusted.
    TrackingError
        A file is missing, or holds what it should not.
    """
    import torch

    record = json.loads(_there(read, "model.json"))
    if "members" in record:
        count = record["members"]
        if not isinstance(count, int) or not 1 <= count <= _MOST_MEMBERS or depth > 1:
            raise TrackingError(f"{named} says that it is the mean of {count!r} models, which no study makes.")
        within = [_within(read, number) for number in range(count)]
        return MeanOfModels([loaded(each, named, trust=trust, depth=depth + 1) for each in within], record)
    if record["config"] is not None:
        weights = torch.load(io.BytesIO(_there(read, "weights.pt")), map_location="cpu", weights_only=True)
        model = _built(record, named, weights, trust=trust)
        model.load_state_dict(weights)
    elif trust:
        model = torch.load(io.BytesIO(_there(read, "module.pt")), map_location="cpu", weights_only=False)
    else:
        raise RunError(f"{named} is a pickle of a class of the user's own, which runs code when it is read. {TRUST}")
    return SavedModel(model, record, _scaler_of(record, read, named, trust=trust), read("features.skops"), trust)


def _within(read: Callable[[str], bytes | None], number: int) -> Callable[[str], bytes | None]:
    """Read the files of one of several models."""
    return lambda name: read(f"members/{number}/{name}")


def _scaler_of(record: Mapping[str, Any], read: Callable[[str], bytes | None], named: str, *, trust: bool) -> Any:
    if record.get("scaling"):
        try:
            return from_record(record["scaling"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrackingError(f"{named} has a scaling that cannot be read ({error}); train again.") from error
    scaler = read("scaler.skops")
    return None if scaler is None else _scaler(scaler, named, trust=trust)


def _there(read: Callable[[str], bytes | None], name: str) -> bytes:
    found = read(name)
    if found is None:
        raise TrackingError(f"The model has no file {name}: restore it from a copy, or train again.")
    return found


def _built(record: dict[str, Any], named: str, weights: Mapping[str, Any], *, trust: bool) -> nn.Module:
    """Build the network that a record describes, without its weights."""
    import torch

    from tradingbot_exp.config.schema import ModelConfig
    from tradingbot_exp.models._ensemble import Ensemble

    config = ModelConfig(**record["config"])
    if config.name not in model_names():
        module = record.get("module", "")
        try:
            load_recorded_plugins([module], named, trust=trust)
        except ConfigError as error:
            advice = " Put the folder that holds it on PYTHONPATH, or start from it." if trust else ""
            raise RunError(
                f"{named}, '{config.name}', is a class of {module or 'an unknown module'}, which is not here. "
                f"{error}{advice}"
            ) from error
    dtype = getattr(torch, record["dtype"], None)
    if not isinstance(dtype, torch.dtype):
        raise TrackingError(f"{named} has the data type {record['dtype']!r}, which torch does not have.")
    count = record.get("ensemble", 1)  # models of former versions do not say
    there = len({name.split(".")[1] for name in weights if name.startswith("members.")}) or 1
    if count != there:  # before as many are made
        raise TrackingError(f"{named} says that it has {count!r} networks, and its weights are of {there}.")
    networks = [build_model(config, len(record["feature_names"]), record["sequence_length"]) for _ in range(count)]
    return (networks[0] if count == 1 else Ensemble(networks, record["logits"])).to(dtype)


def _scaler(data: bytes, named: str, *, trust: bool) -> Any:
    """Read a scaler: any of scikit-learn's, but one that is not trusted holds no functions and no helper classes."""
    import skops.io

    unknown = skops.io.get_untrusted_types(data=data)
    if unknown and not trust:
        raise RunError(f"{named} has a scaler that holds {', '.join(unknown)}, which may run code. {TRUST}")
    return skops.io.loads(data, trusted=[name for name in unknown if name.startswith("sklearn.")])
