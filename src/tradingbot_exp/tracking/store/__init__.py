"""The boundary to MLflow's stores: an address to a client, a word to a run, an error to our own."""
