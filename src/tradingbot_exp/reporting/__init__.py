"""Figures and reports. Import the module that is needed: each pulls in plotly."""
