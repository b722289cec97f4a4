"""Each file imports only what stands before it, every command that is named exists, and every
program and text keeps the promises that all of them make."""
import ast
import os
import re
import runpy
import subprocess
import sys
import warnings
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import nanouft
from lessons import __main__ as course
from nanouft import __main__ as main
from nanouft.objectives import NAMES

ROOT = Path(__file__).parents[2]
# In each tree the folders and files at its top. Each imports only what stands before it;
# "NN" stands for the lessons, which have numbers; lessons/behind counts as its folders.
ORDER = {
    "nanouft": """plumbing gpt batch device models generate data objective on_policy rollout own
        objectives world scorers simple run pictures blind evaluate sample train reward pretrain
        trainer compare pushes playground __main__""",
    "frozen_lake": """lake planning policies train temporal_residual record figure results_table
        __main__""",
    "lessons": """lesson_list tasks evidence papers keys exam website mine course NN __main__""",
    "lessons/behind/tasks": "limits call task simple_parts papers child grade check"}
COMMANDS = re.compile(r"python3? -m ((?:nanouft|frozen_lake|lessons|tests)\b[\w.]*)")
OF_THE_COURSE = re.compile(r"python3? -m lessons ([a-z]\w+)")


def texts() -> dict[Path, str]:
    """Every text of the project."""
    files = [f for name in ("*.md", "docs/*.md", "nanouft/**/*.py", "frozen_lake/**/*.py",
                            "lessons/**/*.py", "lessons/**/*.md", "tests/**/*.py")
             for f in sorted(ROOT.glob(name))]
    return {f: f.read_text(encoding="utf-8") for f in files}


def named(file: Path) -> str:
    """Its name as a module: "nanouft.data.rows"; a package is its __init__.py."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(x for x in parts if x != "behind").removesuffix(".__init__")


def imported(file: Path) -> list[str]:
    """What a file imports, at its top or in a function: "nanouft.data.rows.Row", "torch"."""
    out = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            beside = [*file.relative_to(ROOT).parts[:-node.level]] if node.level else []
            out += [".".join([*beside, *filter(None, [node.module]), a.name]) for a in node.names]
        elif isinstance(node, ast.Import):
            out += [a.name for a in node.names]
    out = [x.replace("lessons.behind.", "lessons.") for x in out]
    # a lesson finds its neighbours as `course`
    return [f"lessons.{x}" if (ROOT / "lessons" / f"{x.partition('.')[0]}.py").exists() else x
            for x in out]


def files_of(*trees: str) -> dict[str, Path]:
    return {named(file): file for tree in trees for file in sorted((ROOT / tree).rglob("*.py"))}


@pytest.mark.parametrize("tree", ORDER)
def test_a_file_imports_only_what_stands_before_it(tree):
    order, trees, package = ORDER[tree].split(), [*ORDER, "tests"], named(ROOT / tree) + "."
    for module, file in files_of(tree).items():
        if module + "." == package:                 # __init__.py
            continue
        place = re.sub(r"^\d\d\w?_.*", "NN", module.removeprefix(package).split(".")[0])
        place = "__main__" if file.name == "__main__.py" else place      # a program, behind all
        assert place in order, f"{file}: where does it stand in the order?"
        for name in imported(file):
            top, other = name.split(".")[0], name.removeprefix(package).split(".")[0]
            if top in trees:
                assert trees.index(top) <= trees.index(tree), f"{file} imports {name}"
            if name.startswith(package) and other in order:
                assert order.index(other) <= order.index(place), f"{file} imports {name}"


def test_no_files_import_each_other_in_a_circle():
    """A package is its __init__.py, which is read before any file in it."""
    files = files_of(*ORDER)
    reads = {module: {part for x in imported(file) for part in (x, x.rpartition(".")[0])
                      if part in files and part != module} for module, file in files.items()}
    assert sum(map(len, reads.values())) > len(files)
    TopologicalSorter(reads).prepare()              # CycleError, with the circle


def test_a_file_is_read_when_it_is_asked_for():
    """`import nanouft` reads no torch, and nanouft.simple needs no import of its own. simple.py
    does without objective.py and its loop, and a run reads its own method and no other. A model
    that answers needs no compiler, which takes a second to read."""
    code = """
import sys
import nanouft
print(*sys.modules)
assert nanouft.simple.METHODS and not hasattr(nanouft, "simpl")
print(*sys.modules)
from nanouft import objectives, train
objectives.OBJECTIVES["dpo"]
from nanouft import generate, models
model, tok = models.folders.start_model("base")
generate.generate(model, [tok.encode("Say")], stop=tok.end, pad=tok.pad, max_new=2)
print(*sys.modules)"""
    first, simple, run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True,
                                        stdout=subprocess.PIPE, text=True).stdout.splitlines()
    assert not {"torch", "numpy"} & {*first.split()}
    unread = ["objective", "objectives", "loop", "run", "train", "pictures"]
    assert not {f"nanouft.{name}" for name in unread} & {*simple.split()}
    unread = [*(f"objectives.{name}" for name in NAMES if name != "dpo"), "pictures", "playground"]
    assert not {f"nanouft.{name}" for name in unread} & {*run.split()}
    assert not {"transformers", "matplotlib", "datasets", "torch._dynamo"} & {*run.split()}


def test_the_readme_names_both_commands():
    """The workflow takes them from there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for two in (r"pip install.*-e \.\n.*--objective ift$", r"pip install.*\n.*pytest -n 2$"):
        assert len(re.findall(two, text, re.MULTILINE)) == 1, two


def test_every_program_begins_with_command():
    """Which makes what a person can cause one line, and any text printable."""
    programs = {f: text for f, text in texts().items() if f.suffix == ".py"
                and '\nif __name__ == "__main__"' in text and "tests" not in f.parts}
    assert programs and not [f for f, x in programs.items() if "command(" not in x]


def test_the_index_names_what_is_there():
    """Each file, and what is named in it: "loop.py, steps"."""
    found = re.findall(r"([\w/]+\.py)(?:, (?!its)(\w+))?", nanouft.__doc__.partition("What to")[2])
    assert len(found) > 20 and not [(file, name) for file, name in found
                                    if name not in (ROOT / "nanouft" / file).read_text("utf-8")]


def exists(module: str) -> bool:
    return any((ROOT / f"{module}{end}").exists() for end in (".py", "/__main__.py"))


def test_every_command_that_is_named_exists():
    now = {f: text for f, text in texts().items() if f.name != "CHANGELOG.md"}
    written = {(m, f.name) for f, text in now.items() for m in COMMANDS.findall(text)}
    gone = sorted((m, f) for m, f in written if not exists(m.strip(".").replace(".", "/")))
    assert written and not gone, gone
    named = {name for text in now.values() for name in OF_THE_COURSE.findall(text)}
    assert named and not named - set(course.PROGRAMS)


def test_importing_changes_nothing(tmp_path):
    """Neither the environment, nor what a signal does, nor the collector of garbage: these are for
    commands (python -m). So is it in a package of your own that runs by python -m."""
    (tmp_path / "guest").mkdir()
    (tmp_path / "guest" / "__init__.py").write_text("""
import gc, os, signal
def now():
    return dict(os.environ), signal.getsignal(signal.SIGINT), gc.isenabled()
before = now()
import nanouft, nanouft.pictures.plots
assert before == now()""")
    (tmp_path / "guest" / "__main__.py").write_text("")
    for words in (["-c", "import guest"], ["-m", "guest"]):
        subprocess.run([sys.executable, *words], cwd=tmp_path, check=True,
                       env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "of.a.notebook"})


def test_the_command_nanouft_begins_as_python_m_does(tmp_path):
    """Installed, `nanouft` is a file of this name that calls console(). Garbage is not collected
    while libraries are imported, but while a command works."""
    script = tmp_path / "nanouft"
    script.write_text("import gc, os, sys\nfrom nanouft.__main__ import console\n"
                      "print(os.environ['OMP_WAIT_POLICY'], gc.isenabled(), flush=True)\n"
                      "try:\n    sys.exit(console())\nfinally:\n"
                      "    print(gc.isenabled(), gc.get_freeze_count() > 9999)\n")
    env = {name: x for name, x in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, script, "train", "--objective", "nope"],
                          env=env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "PASSIVE False\nTrue True\n")
    assert done.stderr.startswith("error: unknown objective 'nope'"), done.stderr


@pytest.mark.parametrize("triton", [True, False])
def test_where_triton_is_imported_all_is_collected_at_the_end(triton):
    """triton 3.9 of PyTorch 2.15's CUDA build prints each object that nobody collects."""
    code = (f"import atexit, gc, sys, types\nif {triton}:\n"
            "    sys.modules['triton'] = types.ModuleType('triton')\n"
            "atexit.register(lambda: print(gc.get_freeze_count() > 999))\n"      # after ours
            "sys.argv = ['nanouft']\nimport nanouft\n"
            "from nanouft.plumbing.entry import command\ncommand(lambda argv: None)\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{not triton}\n", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process in another way")
def test_ctrl_c_while_a_command_imports_is_one_line():
    code = ("import os, signal, sys\nsys.argv = ['nanouft']\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)     # a job may ignore it\n"
            "import nanouft\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "\ninterrupted\n")


def test_a_python_without_torch_is_told_what_to_do():
    """Such as that of the system, where a terminal has not activated .venv."""
    done = subprocess.run([sys.executable, "-S", "-m", "nanouft.train"], cwd=ROOT,
                          env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: this Python has no PyTorch")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def here(monkeypatch, capsys):
    """python -m with these words, in this process, where torch is loaded once: (exit code, output,
    errors)."""
    def run(*argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [*argv])
        with pytest.raises(SystemExit) as end, warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*found in sys.modules")  # other tests import it
            runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
        return end.value.code, *capsys.readouterr()
    return run


def test_the_package_lists_its_commands(here):
    """All of them under --help all; the menu is a part of that, and names the way there."""
    _, short, _ = here("nanouft")
    _, out, _ = here("nanouft", "--help", "all")
    assert "python -m nanouft --help all" in short
    assert {x for x in short.splitlines() if "python -m nanouft." in x} < {*out.splitlines()}
    programs = [named(file).removesuffix(".__main__") for file in files_of("nanouft").values()
                if 'if __name__ == "__main__"' in file.read_text(encoding="utf-8")]
    assert [name for name in programs if f"python -m {name} " not in out] == ["nanouft"]
    assert here("nanouft", "--version") == (0, f"nanouft {nanouft.__version__}\n", "")


@pytest.mark.parametrize("flag, code", [("--help", 0), ("--no-such-flag", 2)])
@pytest.mark.parametrize("module", main.COMMANDS)
def test_python_m_nanouft_with_a_name_runs_that_command(module, flag, code, here):
    """Its help, what it says of a mistake and its exit code are those of the command itself."""
    found = here(module, flag)
    assert here("nanouft", module.removeprefix("nanouft."), flag) == found
    assert found[0] == code and found[1 if code == 0 else 2].strip()


@pytest.mark.parametrize("words, told", [
    ("trian", "error: unknown command 'trian'; did you mean train? "),
    ("--objective ift", "error: unknown command '--objective' (known: train, compare, "),
    ("lessons check 05", "error: the lessons are not installed; clone ")])
def test_a_name_that_is_no_command_is_one_line(words, told, here):
    code, out, err = here("nanouft", *words.split())
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith(told)


def test_what_needs_no_torch_does_not_wait_for_it():
    """All of them in one process, so the first one that needs torch is at fault."""
    code = """
import runpy, sys
for words in ("nanouft --help", "nanouft.sample --help", "nanouft.playground --help",
              "frozen_lake --help", "lessons --help", "lessons check --help",
              "lessons pages --help", "lessons.evidence R1"):
    name, *_ = sys.argv = words.split()
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print("code", end.code)
    assert "torch" not in sys.modules, words"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *told, rest = done.stdout.split("code 0\n")
    assert len(told) == 8 and not rest and all(len(text) > 90 for text in told)


def test_every_system_can_hold_every_file():
    """Windows reserves names and signs, and Windows and macOS read a name in any case."""
    files = [f.relative_to(ROOT).as_posix() for folder in ("docs", "frozen_lake", "lessons",
             "nanouft", "tests") for f in (ROOT / folder).rglob("*")]
    refused = re.compile(r'(con|prn|aux|nul|(com|lpt)\d)(\.|$)|.*[<>:"|?*\\]|.*[. ]$', re.I)
    assert len(files) > 400 and not [x for x in files if any(map(refused.match, x.split("/")))]
    assert len(files) == len({x.lower() for x in files})


def test_no_text_names_the_place_where_it_was_written_or_a_registry():
    """nanouft is installed from its checkout; nobody holds its name in a registry."""
    words = re.compile(r"/work/|\.\./shared|/opt/env|/root/|pip install nanouft")
    assert [f for f, text in texts().items() if words.search(text)] == [Path(__file__)]
