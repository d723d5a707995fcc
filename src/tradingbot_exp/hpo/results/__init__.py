"""What a study leaves: its trials' bars, the records on its parent run, what a person sees."""
