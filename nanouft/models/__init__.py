"""Models and tokenizers: folders that are read and written, and decoding."""
