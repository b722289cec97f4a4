"""Which tests run a line? mutate.py asks it, so that a mutant meets few tests, the likeliest first.

    python tests/tools/tests_of.py                      # all test files again, 15 minutes
    python tests/tools/tests_of.py tests/core/test_gpt.py       # one file again

Each test file runs once under coverage (pip install coverage). out/mutants/lines.json says which
test ran which line. It is made here and not committed. tests_of.json, beside this file, is its
summary and is committed: {source file: test files}. It serves lines that no single test ran (what
runs while a module is imported, or in a process of its own) and a checkout without lines.json.
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_suffix(".json")
LINES = ROOT / "out" / "mutants" / "lines.json"
TESTS = ("tests/core", "tests/lake", "tests/lessons", "lessons/tests", "lab/tests")
MOST = 5                # test files of a source file in the table
SETTINGS = """[run]
source = nanouft,frozen_lake,lab,lessons
omit = lab/tests/*,lessons/tests/*
data_file = {folder}/data
parallel = true
patch = subprocess
dynamic_context = test_function
context = ${{PYTEST_CURRENT_TEST-}}
"""                     # the last line names the test in processes that it starts


def test_files() -> list[str]:
    return [file.relative_to(ROOT).as_posix() for folder in TESTS
            for file in sorted((ROOT / folder).glob("test_*.py"))]


def digest(file: str) -> str:
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()[:16]


def measure(test_file: str) -> tuple[dict[str, float], dict[str, dict[str, list[str]]]]:
    """(seconds of each test that passed, {source: {line: tests}}); the tests of one function of
    a test file, with all its parameters, count as one test: "file.py::test_name"."""
    import coverage
    with tempfile.TemporaryDirectory() as folder:
        settings, report = Path(folder, "settings"), Path(folder, "report.xml")
        settings.write_text(SETTINGS.format(folder=folder))
        subprocess.run([sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m",
                        "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
                        test_file], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
        seconds: dict[str, float] = defaultdict(float)
        failed = set()
        for case in xml.parse(report).iter("testcase"):
            name = f"{test_file}::{case.get('name', '').split('[')[0]}"
            seconds[name] += float(case.get("time", 0))
            if case.find("failure") is not None or case.find("error") is not None:
                failed.add(name)
        lines: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for part in Path(folder).glob("data.*"):
            data = coverage.CoverageData(str(part))
            data.read()
            for source in data.measured_files():
                for line, contexts in data.contexts_by_lineno(source).items():
                    for context in contexts:
                        name = f"{test_file}::{function(context)}"
                        if name in seconds.keys() - failed:
                            lines[Path(source).relative_to(ROOT).as_posix()][str(line)].add(name)
    return ({name: round(s, 2) for name, s in seconds.items() if name not in failed},
            {source: {line: sorted(tests) for line, tests in found.items()}
             for source, found in lines.items()})


def function(context: str) -> str:
    """coverage writes "tests.core.test_gpt.test_x", pytest "test_gpt.py::test_x[1] (call)"."""
    place, _, rest = context.partition("::")
    return rest.split(" ")[0].split("[")[0] if rest else place.split(".")[-1]


def summary(lines: dict[str, dict[str, list[str]]]) -> dict[str, list[str]]:
    """{source: test files}: first the one of its name, then those that run most further lines."""
    table = {}
    for source, found in sorted(lines.items()):
        runs = defaultdict(set)
        for line, tests in found.items():
            for test in tests:
                runs[test.split("::")[0]].add(line)
        chosen: list[str] = []
        while runs and len(chosen) < MOST:
            seen = set().union(*(runs[file] for file in chosen))
            best = max(runs.keys() - chosen, default=None, key=lambda file: (
                Path(source).stem in file, len(runs[file] - seen), len(runs[file]), file))
            if best is None:
                break
            chosen.append(best)
        table[source] = chosen
    return table


def load() -> dict:
    """{"seconds": ..., "digests": ..., "lines": ...}, empty where nothing was measured here."""
    if LINES.exists():
        return json.loads(LINES.read_text(encoding="utf-8"))
    return {"seconds": {}, "digests": {}, "lines": {}}


def main(argv: list[str]) -> None:
    known = load()
    for number, test_file in enumerate(files := argv or test_files(), 1):
        print(f"{number} of {len(files)}: {test_file}", flush=True)
        seconds, lines = measure(test_file)
        mine = f"{test_file}::"
        known["seconds"] = {n: s for n, s in known["seconds"].items()
                            if not n.startswith(mine)} | seconds
        for source in known["lines"].keys() | lines.keys():
            if known["digests"].get(source) != digest(source):     # other lines than then
                known["lines"][source] = {}
            old, new = known["lines"][source], lines.get(source, {})
            for line in old.keys() | new.keys():
                old[line] = [n for n in old.get(line, []) if not n.startswith(mine)] + new.get(
                    line, [])
            known["digests"][source] = digest(source)
        LINES.parent.mkdir(parents=True, exist_ok=True)
        LINES.write_text(json.dumps(known), encoding="utf-8")
    rows = (f" {json.dumps(source)}: {json.dumps(tests)}"
            for source, tests in summary(known["lines"]).items())
    TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
