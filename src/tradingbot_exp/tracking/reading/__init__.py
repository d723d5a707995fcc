"""What stores hold, as frozen records: runs, studies, test-set evaluations, and what was tried before."""
