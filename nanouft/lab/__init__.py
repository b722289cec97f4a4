"""The laboratory: many runs, compared and judged. Nothing outside imports it; deleted, all the rest still works."""
