"""Answers of the model that is trained: sampled, scored, turned into batches."""
