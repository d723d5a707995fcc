"""The report of a study: numbers first, then words, tables and figures."""
