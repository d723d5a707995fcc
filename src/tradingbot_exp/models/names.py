"""The names that a configuration may use for models and activations, known without loading torch."""

from __future__ import annotations

import pkgutil
from pathlib import Path

ACTIVATION_CLASSES: dict[str, str] = {
    "relu": "ReLU",
    "tanh": "Tanh",
    "gelu": "GELU",
    "silu": "SiLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
}
"""Name in the configuration -> class in ``torch.nn``."""

ACTIVATIONS: tuple[str, ...] = tuple(ACTIVATION_CLASSES)

_NOT_MODELS = frozenset({"names", "registry", "summary"})
_registered: set[str] = set()  # names registered from outside this folder, see `registry.register`


def model_names() -> tuple[str, ...]:
    """Name every model that `build_model` can build.

    Returns
    -------
    tuple of str
        Sorted. A file ``foo.py`` in this folder is the model ``foo``; models that other code registered
        are listed with them.
    """
    files = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])}
    models = {name for name in files - _NOT_MODELS if not name.startswith("_")}
    return tuple(sorted(models | _registered))
