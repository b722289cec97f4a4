"""What stands where: each file imports only what stands before it, importing changes nothing, and
every program begins, helps and ends alike."""
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
from nanouft import __main__ as main
from nanouft.objectives import NAMES, OBJECTIVES
from nanouft.run.flags import comments

ROOT = Path(__file__).parents[2]
# In each tree the folders and files at its top. Each imports only what stands before it;
# "NN" stands for the lessons, which have numbers; lessons/behind counts as its folders.
ORDER = {
    "nanouft": """plumbing gpt batch device models generate data objective policy_gradient rollout
        own objectives world scorers simple run pictures blind evaluate sample train reward pretrain
        trainer compare pushes playground __main__""",
    "frozen_lake": """lake planning policies train temporal_residual record figure results_table
        __main__""",
    "lessons": """lesson_list tasks evidence papers keys exam website mine course NN __main__""",
    "lessons/behind/tasks": "limits call task simple_parts papers child grade check"}
# what only a checkout has: its pages, its lessons, its extras
OF_THE_CHECKOUT = re.compile(r"docs/\w+\.md|README|CONTRIBUTING|lessons[/.]\w|install.* -e ")


# ---- files ---------------------------------------------------------------------------------------
def named(file: Path) -> str:
    """Its name as a module: "nanouft.data.rows"; a package is its __init__.py."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(x for x in parts if x != "behind").removesuffix(".__init__")


def files_of(*trees: str) -> dict[str, Path]:
    return {named(file): file for tree in trees for file in sorted((ROOT / tree).rglob("*.py"))}


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


def test_every_system_can_hold_every_file():
    """Windows reserves names and signs, and Windows and macOS read a name in any case."""
    files = [f.relative_to(ROOT).as_posix() for folder in ("docs", "frozen_lake", "lessons",
             "nanouft", "tests") for f in (ROOT / folder).rglob("*")]
    refused = re.compile(r'(con|prn|aux|nul|(com|lpt)\d)(\.|$)|.*[<>:"|?*\\]|.*[. ]$', re.I)
    assert len(files) > 400 and not [x for x in files if any(map(refused.match, x.split("/")))]
    assert len(files) == len({x.lower() for x in files})


# ---- another process -----------------------------------------------------------------------------
def python(*words: str, **more: str) -> subprocess.CompletedProcess:
    """What a new Python prints, with more variables of its environment."""
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)} | more)


def test_a_run_reads_its_own_method_and_no_other():
    """simple.py does without objective.py and its loop. A model that answers needs no compiler,
    which takes a second to read."""
    done = python("-c", """
import sys
import nanouft
assert nanouft.simple.METHODS and not hasattr(nanouft, "simpl")
print(*sys.modules)
from nanouft import objectives, train
objectives.OBJECTIVES["dpo"]
from nanouft import generate, models
model, tok = models.folders.start_model("base")
generate.generate(model, [tok.encode("Say")], stop=tok.end, pad=tok.pad, max_new=2)
print(*sys.modules)""")
    simple, run = done.stdout.splitlines()
    unread = ["objective", "objectives", "loop", "run", "train", "pictures"]
    assert not {f"nanouft.{name}" for name in unread} & {*simple.split()}
    unread = [*(f"objectives.{name}" for name in NAMES if name != "dpo"), "pictures", "playground"]
    assert not {f"nanouft.{name}" for name in unread} & {*run.split()}
    assert not {"transformers", "matplotlib", "datasets", "torch._dynamo"} & {*run.split()}


def test_what_needs_no_torch_does_not_wait_for_it():
    """All of them in one process, so the first one that needs torch is at fault."""
    done = python("-c", """
import runpy, sys
for words in ("nanouft --help", "nanouft.sample --help", "nanouft.playground --help",
              "frozen_lake --help", "lessons --help", "lessons check --help",
              "lessons pages --help", "lessons.evidence R1"):
    name, *_ = sys.argv = words.split()
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print("code", end.code)
    assert "torch" not in sys.modules, words""")
    assert done.returncode == 0, done.stderr
    *told, rest = done.stdout.split("code 0\n")
    assert len(told) == 8 and not rest and all(len(text) > 90 for text in told)


def test_importing_changes_nothing(tmp_path):
    """Neither the environment, nor what a signal does, nor the collector of garbage: these are for
    our commands, and not for a package of your own that runs by python -m."""
    (tmp_path / "guest.py").write_text("""
import gc, os, signal
def now():
    return dict(os.environ), signal.getsignal(signal.SIGINT), gc.isenabled()
before = now()
import nanouft, nanouft.pictures.plots
assert before == now()""")
    done = python("-m", "guest", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}",
                  MPLBACKEND="of.a.notebook")
    assert done.returncode == 0, done.stderr


def test_the_command_nanouft_begins_as_python_m_does(tmp_path):
    """Installed, `nanouft` is a file of this name that calls console(). Garbage is not collected
    while libraries are imported, but while a command works."""
    script = tmp_path / "nanouft"
    script.write_text("import gc, os, sys\nos.environ.pop('OMP_WAIT_POLICY', '')\n"
                      "from nanouft.__main__ import console\n"
                      "print(os.environ['OMP_WAIT_POLICY'], gc.isenabled(), flush=True)\n"
                      "try:\n    sys.exit(console())\nfinally:\n"
                      "    print(gc.isenabled(), gc.get_freeze_count() > 9999)\n")
    done = python(str(script), "train", "--objective", "nope")
    assert (done.returncode, done.stdout) == (2, "PASSIVE False\nTrue True\n")
    assert done.stderr.startswith("error: unknown objective 'nope'"), done.stderr


@pytest.mark.parametrize("triton", [True, False])
def test_where_triton_is_imported_all_is_collected_at_the_end(triton):
    """triton 3.9 of PyTorch 2.15's CUDA build prints each object that nobody collects."""
    done = python("-c", f"import atexit, gc, sys, types\nif {triton}:\n"
                  "    sys.modules['triton'] = types.ModuleType('triton')\n"
                  "atexit.register(lambda: print(gc.get_freeze_count() > 999))\n"   # after ours
                  "sys.argv = ['nanouft']\nimport nanouft\n"
                  "from nanouft.plumbing.entry import command\ncommand(lambda argv: None)\n")
    assert (done.stdout, done.stderr) == (f"{not triton}\n", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process in another way")
def test_ctrl_c_while_a_command_imports_is_one_line():
    done = python("-c", "import os, signal, sys\nsys.argv = ['nanouft']\n"
                  "signal.signal(signal.SIGINT, signal.default_int_handler)\n"    # by default
                  "import nanouft\nos.kill(os.getpid(), signal.SIGINT)\n")
    assert (done.returncode, done.stderr) == (130, "\ninterrupted\n")


def test_a_python_without_torch_is_told_what_to_do():
    """Such as that of the system, where a terminal has not activated .venv."""
    done = python("-S", "-m", "nanouft.train", PYTHONPATH="")
    assert done.returncode == 2 and done.stderr.startswith("error: this Python has no PyTorch")
    assert done.stderr.count("\n") == 1


# ---- programs ------------------------------------------------------------------------------------
@pytest.fixture
def here(monkeypatch, capsys):
    """python -m with these words, in this process, where torch is loaded once: its output."""
    def run(*argv: str) -> str:
        monkeypatch.setattr(sys, "argv", [*argv])
        with pytest.raises(SystemExit) as end, warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*found in sys.modules")  # other tests import it
            runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
        assert end.value.code == 0
        return capsys.readouterr().out
    return run


def test_the_menu_lists_every_program_and_each_begins_with_command(here):
    """`command` makes what a person can cause one line. The short menu is a part of that of
    --help all, and names the way there."""
    short, menu = here("nanouft"), here("nanouft", "--help", "all")
    assert "python -m nanouft --help all" in short
    assert {x for x in short.splitlines() if "python -m nanouft." in x} < {*menu.splitlines()}
    programs = {module.removesuffix(".__main__"): text
                for module, file in files_of("nanouft", "frozen_lake", "lessons").items()
                if '\nif __name__ == "__main__"' in (text := file.read_text(encoding="utf-8"))}
    assert [name for name, text in programs.items() if "command(" not in text] == []
    assert [name for name in programs if name[:7] == "nanouft"
            and f"python -m {name} " not in menu] == ["nanouft"]
    assert here("nanouft", "--version") == f"nanouft {nanouft.__version__}\n"


@pytest.mark.parametrize("module", main.COMMANDS)
def test_the_help_of_a_program_is_that_of_its_short_form_and_sends_to_no_checkout(module, here):
    """An installation has neither the pages nor the lessons."""
    words = ["--help", *(["all"] if module == "nanouft.train" else [])]
    told = here(module, *words)
    assert here("nanouft", module.removeprefix("nanouft."), *words) == told
    assert "--" in told and not OF_THE_CHECKOUT.search(told)


def test_every_message_and_the_help_of_every_method_send_to_no_checkout():
    """Unless `if_in_checkout` asks whether the file lies there."""
    found = [x for one in OBJECTIVES.values() for x in comments(one).values()
             if OF_THE_CHECKOUT.search(x)]
    for file in files_of("nanouft", "frozen_lake").values():
        nodes = [*ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
        asked = [node.args[0] for node in nodes if isinstance(node, ast.Call)
                 and isinstance(node.func, ast.Name) and node.func.id == "if_in_checkout"]
        assert all((ROOT / name.value).is_file() for name in asked), file
        silent = [*asked, *(node.value for node in nodes if isinstance(node, ast.Expr))]
        found += [(file.name, node.value) for node in nodes if isinstance(node, ast.Constant)
                  and isinstance(node.value, str) and OF_THE_CHECKOUT.search(node.value)
                  and node not in silent and node.value != "README.md"]     # of a run folder
    assert not found
