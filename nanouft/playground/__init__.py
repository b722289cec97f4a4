"""A page in which a small language model is trained in the reader's browser, with every objective of this project."""
