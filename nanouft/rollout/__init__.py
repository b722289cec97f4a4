"""A model's own answers: sampled, scored, turned into batches."""
