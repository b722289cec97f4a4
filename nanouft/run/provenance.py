"""Which questions was a model trained on? A run folder knows, for all runs that led to it.

    remember(folder, rows, init)                # trained_on.json: these rows, and those of --init
    known = trained_on("out/sft-dpo")           # hashes of questions
    unseen(rows, known)

A row is known by a hash of its question (data/rows.py), so it does not matter in which file, folder
or form it stands, in which line, and with which answer. NanoWorld's own draws are not noted: its
test questions are never drawn for training.
"""
from pathlib import Path

from nanouft.data.rows import Row, question_hash
from nanouft.run.schema import read
from nanouft.run.storage import HUB, write_json

FILE = "trained_on.json"


def trained_on(init: str) -> set[str]:
    """The hashes of a model folder; none for a folder without the file, 'base' or a name on the
    hub."""
    file = Path(init) / FILE
    if init == "base" or init.startswith(HUB) or not file.is_file():
        return set()
    return set(read(file)["questions"])


def remember(folder: Path, rows: list[Row], init: str) -> None:
    """Write trained_on.json into a run folder."""
    hashes = {question_hash(row) for row in rows} | trained_on(init)
    write_json(folder / FILE, {"questions": sorted(hashes)})


def unseen(rows: list[Row], known: set[str]) -> list[Row]:
    """The rows whose question is not known."""
    return [row for row in rows if question_hash(row) not in known]
