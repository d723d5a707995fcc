"""The report of a study: a file a section, numbers first, then its blocks."""
