"""Looking at what the model answers: kept, compared, and counted against labels."""
