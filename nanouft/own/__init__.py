"""Code of your own, in a file: an objective, or a function as a reward."""
