"""The training report: a file a section, numbers first, then its blocks."""
