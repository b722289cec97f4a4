"""Pictures: curves of a run, pushes of a loss, and the colours of all methods."""
