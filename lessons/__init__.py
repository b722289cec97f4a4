"""The course. Where the old names of its programs lead, for one version: `lessons.check` is
`python -m lessons check` now."""
from pathlib import Path

__path__ += [str(Path(__file__).parent / room) for room in ("classroom", "website")]
