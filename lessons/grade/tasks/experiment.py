"""Runs a lesson, or its beginning, for the experiment of a prediction: quietly, elsewhere."""
import contextlib
import io
import os
import re
import sys
import tempfile
import types

from lessons.grade.folder import ROOT, lesson_file

sys.path.append(str(ROOT / "lessons"))      # lessons import course.py and draw.py from there


def lesson(id: str, until: str = "", asserts: bool = False, **changes) -> dict:
    """The variables of a lesson after a run. `changes`: other values of its constants; `until`: it
    stops before this line. What is asserted is about the lesson's own values, so asserts are left
    out."""
    file = lesson_file(id)
    source = file.read_text(encoding="utf-8")
    for name, value in changes.items():
        source, n = re.subn(rf'^{name} = ("[^"]*"|\S+)', f"{name} = {value!r}", source, flags=re.M)
        assert n == 1, f"{file.name} has {n} lines {name} = ..."
    if until:
        before, found, _ = source.partition("\n" + until)
        assert found, f"{file.name} has no line {until!r}"
        source = before
    return run(compile(source, str(file), "exec", optimize=0 if asserts else 1), quiet=True)


def run(code, quiet: bool) -> dict:
    """Run code as a module called `lesson`, in an empty folder. -> its variables."""
    from nanouft.eval import plots
    here = os.getcwd()
    sys.modules["lesson"] = module = types.ModuleType("lesson")     # dataclasses look it up
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            with contextlib.redirect_stdout(io.StringIO() if quiet else sys.stdout):
                exec(code, module.__dict__)
        finally:
            os.chdir(here)
            plots.plt.close("all")
    return module.__dict__
