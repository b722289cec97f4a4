"""A GPT to work with: loaded, saved, asked for answers."""
