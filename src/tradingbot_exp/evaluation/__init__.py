"""How good a forecast is, what trading on it would have paid, and which features it leans on."""

from tradingbot_exp.evaluation.importance import Importance, permutation_importance
from tradingbot_exp.evaluation.metrics import METRICS, Evaluation, validation_metrics

__all__ = ["METRICS", "Evaluation", "Importance", "permutation_importance", "validation_metrics"]
