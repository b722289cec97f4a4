"""The extra on the tangent space, in short: a base of one layer, one step."""
import importlib.util
import re
import sys

from running import ROOT, SMALL, tiny_folder

from nanouft.models import load


def run(capsys, **values) -> list[list[float]]:
    """The numbers of each line that the lesson prints below a heading."""
    spec = importlib.util.spec_from_file_location("tangent_extra", ROOT / "lessons" / "extras" / "tangent.py")
    lesson = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / "lessons" / "extras"))
    spec.loader.exec_module(lesson)
    for name, value in values.items():
        assert hasattr(lesson, name)
        setattr(lesson, name, value)
    lesson.part_ways()
    lesson.add_up()
    rows = [line for line in capsys.readouterr().out.splitlines() if re.match(r"lr|\d|linear|ordinary", line)]
    return [[float(x) for x in re.findall(r"[-+]?\d[\d.]*(?:e[-+]\d+)?", row[18:])] for row in rows]


def test_it_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(load, "BASE", tiny_folder(tmp_path / "small", SMALL))
    rows = run(capsys, STEPS=[1], RATES=[1e-4], TESTS=2)
    assert [len(row) for row in rows] == [1 + 3 + 3] + 5 * [4] + 4 * [9]
