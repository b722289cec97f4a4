"""A page on which any two methods teach a small language model, side by side."""
