"""The course: README.md has the order of the lessons."""
