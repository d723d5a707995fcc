"""MLflow's own types, for the annotations of modules that know no MLflow."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["Run"]
