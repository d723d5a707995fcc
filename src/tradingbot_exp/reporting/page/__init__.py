"""What all reports are made of: blocks, pages, the configuration, metrics."""
