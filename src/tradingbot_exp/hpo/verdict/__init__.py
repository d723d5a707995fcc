"""Is the winner real? Evidence at a study's end, other seeds, searches on permuted targets, the ledger."""
