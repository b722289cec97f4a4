"""Rows of data: read from files, chosen for a method, tokenized, put into batches."""
