"""The laboratory: many runs, compared and judged. README.md beside this file lists its commands and
says how to install it. Nothing outside imports it; deleted, all the rest still works."""
