"""Figures of plain arrays, and the pages that hold one each: what a run keeps and what reports are made of."""
