"""The tear sheet: its sections, in their order."""

from __future__ import annotations

from tradingbot_exp.reporting.tear_sheet.costs import cost_blocks
from tradingbot_exp.reporting.tear_sheet.equity import equity_blocks
from tradingbot_exp.reporting.tear_sheet.holdings import holding_blocks
from tradingbot_exp.reporting.tear_sheet.months import month_blocks
from tradingbot_exp.reporting.tear_sheet.risk import risk_blocks
from tradingbot_exp.reporting.tear_sheet.years import year_blocks

TEAR_SHEET = (equity_blocks, risk_blocks, month_blocks, holding_blocks, cost_blocks, year_blocks)
