"""A run folder that comes from somebody else, or that lost files on its way: --resume leads to the
right bytes or to one line, and whatever lies beside the folder stays as it is."""
import json
import os
import shutil
import socket
from itertools import product
from pathlib import Path

import pytest
from commands import is_whole, whole_and_half
from made import killed_in_step, one_error, write_jsonl
from safetensors.torch import load_file, save_file

from nanouft import pretrain, reward, train
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json, remove, write_json
from nanouft.run.checkpoint import whole_steps
from nanouft.run.folder import check_free, read_lines
from nanouft.run.load import with_first_models
from nanouft.run.settings import read_flags

STEPS = 7
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="links, pipes and forks of POSIX")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a start model, a whole run, and one that was killed in its last step."""
    folder = tmp_path_factory.mktemp("strangers")
    whole_and_half(folder, STEPS)
    assert whole_steps(folder / "half") == [4, 6]
    return folder


@pytest.fixture
def run(place, tmp_path, monkeypatch):
    """The killed run, and beside it all that a link could lead to. No name is looked up."""
    def looked_up(*args, **kw):
        raise AssertionError(f"the network was asked for {args}")
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(socket.socket, "connect", looked_up)
    beside = tmp_path / "beside"
    for name in ("1", "3", "4", "6", "partial", "adapter"):
        (beside / name).mkdir(parents=True)
        (beside / name / "kept.txt").write_text(name)
    shutil.copy(place / "pairs.jsonl", beside)
    shutil.copytree(place / "half", beside / "a_run")
    shutil.copytree(place / "half", tmp_path / "run")
    monkeypatch.chdir(beside)                           # where out/ would be made
    return tmp_path / "run"


def content(folder: Path, leave_out: Path | None = None) -> dict[str, bytes | str]:
    """Everything in a folder, of which one part is left out."""
    return {str(f): os.readlink(f) if f.is_symlink() else f.read_bytes() if f.is_file() else ""
            for f in folder.rglob("*") if leave_out is None or leave_out not in (f, *f.parents)}


def resumed(run: Path, place: Path, capsys) -> tuple[int, str]:
    """(exit code, what it said) of --resume. What lies beside the run folder stays as it is, and
    what it ends with are the weights of the whole run, or one line."""
    before = content(run.parent, leave_out=run)
    capsys.readouterr()
    code = command(train.main, ["--resume", str(run)])
    assert content(run.parent, leave_out=run) == before, "what lies beside the run folder"
    if code == 0:
        is_whole(run, place, log=False)
        return code, capsys.readouterr().out
    assert code == 2
    return code, one_error(capsys)


# ---- what stands in the place of a file or a folder ----------------------------------------------
FOLDERS = ["steps", "steps/6", "steps/4", "steps/partial", "partial", "adapter"]
FILES = ["model.safetensors", "metrics.jsonl", "eval.json", "run.json", "curves.png",
         "eval.json.partial", "metrics.jsonl.partial", "run.json.partial", "config.json",
         "steps/6/model.safetensors", "steps/6/optimizer.safetensors", "steps/6/step.json"]


def link(run: Path, name: str) -> None:
    """To what has the same content, where there is any: a link that would work."""
    there = run.parent / "beside" / "a_run" / name
    if not there.exists():
        there = run.parent / "beside" / ("partial" if name in FOLDERS else "partial/kept.txt")
    os.symlink(there, run / name)


def link_to_nothing(run: Path, name: str) -> None:
    os.symlink(run.parent / "beside" / "none", run / name)


def hard_link(run: Path, name: str) -> None:
    there = run.parent / "beside" / "a_run" / name
    os.link(there if there.exists() else run.parent / "beside" / "6" / "kept.txt", run / name)


def pipe(run: Path, name: str) -> None:
    os.mkfifo(run / name)


def empty_file(run: Path, name: str) -> None:
    (run / name).touch()


def empty_folder(run: Path, name: str) -> None:
    (run / name).mkdir()


def nothing(run: Path, name: str) -> None:
    pass


LINKS = [link, link_to_nothing]


def cases(names: list[str], changes: list) -> list:
    """Each change of each name; of links some, since one walk over the folder finds them."""
    pairs = [*product(names, changes), *product(names[::3], LINKS)]
    return [pytest.param(*pair, id=f"{pair[0]}-{pair[1].__name__}") for pair in pairs]


@posix
@pytest.mark.parametrize("name, change", cases(FOLDERS, [pipe, empty_file, empty_folder, nothing]))
def test_what_stands_in_the_place_of_a_folder_leads_nowhere(name, change, run, place, capsys):
    """A link is refused, and all else that is no folder, and the run is as it was. Without it the
    run goes on."""
    remove(run / name)
    change(run, name)
    before = content(run)
    code, said = resumed(run, place, capsys)
    if change in (empty_folder, nothing):
        assert code == 0
    else:
        assert code == 2 and said.startswith(f"error: {run / name}: is "), said
        assert content(run) == before


@posix
@pytest.mark.parametrize("name, change", cases(
    FILES, [hard_link, pipe, empty_file, empty_folder, nothing]))
def test_what_stands_in_the_place_of_a_file_leads_nowhere(name, change, run, place, capsys):
    remove(run / name)
    change(run, name)
    code, said = resumed(run, place, capsys)
    if change in LINKS:
        assert code == 2 and str(run / name) in said or name == "run.json", said


@posix
def test_a_first_model_is_not_made_through_a_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["--objective", "poft", "--rows", "8"]
    objective, cfg, _ = read_flags(argv)
    made: list[str] = []

    def train_one(argv: list[str]) -> int:
        made.append(argv[argv.index("--out") + 1])
        return 0
    with_first_models(objective, cfg, train.devices.choose_device("cpu", "fp32"), train_one)
    (tmp_path / "empty").mkdir()
    Path(made[0]).parent.mkdir(parents=True)
    os.symlink(tmp_path / "empty", made[0])
    with pytest.raises(UserError, match="is a symbolic link, so nothing is written there"):
        with_first_models(objective, cfg, train.devices.choose_device("cpu", "fp32"), train_one)
    assert len(made) == 1


@posix
def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x").touch()
    os.symlink(tmp_path / "kept", tmp_path / "link")
    remove(tmp_path / "link")
    assert (tmp_path / "kept" / "x").exists() and not os.path.lexists(tmp_path / "link")


def test_a_picture_is_a_new_file(tmp_path):
    """And what shares its bytes with the old one keeps them."""
    plots = pytest.importorskip("nanouft.pictures.plots")
    (tmp_path / "old").write_text("x")
    os.link(tmp_path / "old", tmp_path / "curves.png")
    plots.save(plots.Figure(), tmp_path / "curves.png")
    assert (tmp_path / "old").read_text() == "x" and (tmp_path / "curves.png").stat().st_size > 99


# ---- one file does not stand for a state ---------------------------------------------------------
def other_weights(run: Path, place: Path) -> None:
    save_file({name: w + 1 for name, w in load_file(place / "start" / "model.safetensors").items()},
              run / "model.safetensors", metadata={"format": "pt"})


def half_a_file(run: Path, place: Path) -> None:
    """And the whole log: what a copy that was cut short may leave."""
    shutil.copy(place / "whole" / "metrics.jsonl", run)
    whole = (place / "whole" / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(whole[:-1000])


def whole_log(run: Path, place: Path) -> None:
    shutil.copy(place / "whole" / "metrics.jsonl", run)


@pytest.mark.parametrize("scores, more", [
    ({"before": {}, "after": {}}, None), ({"before": {}, "after": {}}, other_weights),
    ({"before": {}, "after": {}}, half_a_file), ({"after": {}}, whole_log), ({"before": {}}, None)])
def test_scores_alone_do_not_make_a_run_complete(more, scores, run, place, capsys):
    """eval.json of another run, or of one that lost its weights on the way: the run goes on from
    its checkpoint, and writes its own scores."""
    (run / "eval.json").write_text(json.dumps(scores | {"planted": 1}))
    if more:
        more(run, place)
    code, said = resumed(run, place, capsys)
    assert code == 0 and "going on after step 6" in said and "is finished" not in said
    assert "planted" not in read_json(run / "eval.json")
    is_whole(run, place)


def test_old_scores_are_gone_as_soon_as_a_run_goes_on(run, place):
    """Else a run that is killed once more, behind its last step, would seem to be scored."""
    (run / "eval.json").write_text('{"before": {}, "after": {}}')
    with killed_in_step(1):
        assert command(train.main, ["--resume", str(run)]) == 130
    assert not (run / "eval.json").exists()


def test_a_run_that_is_scored_is_complete_without_a_step(run, place, capsys):
    """Only its checkpoints were left over by the kill. It is finished by each --resume."""
    for name in ("model.safetensors", "config.json", "tokenizer.json", "metrics.jsonl",
                 "eval.json"):
        shutil.copy(place / "whole" / name, run)
    for _ in range(2):
        code, said = resumed(run, place, capsys)
        assert code == 0 and "that run is finished" in said and "step" not in said
        assert not (run / "steps").exists()


# ---- the log -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kept, lost", [([], "6 steps"), ([1, 2], "4 steps"), ([6], "5 steps"),
                                        ([1, 2, 3, 5, 6], "1 step"), ([1, 2, 3, 4, 5, 6], "")])
def test_a_log_that_lacks_steps_is_told(kept, lost, run, place, capsys):
    log = [x for x in read_lines(run / "metrics.jsonl") if x["step"] in kept]
    write_jsonl(run / "metrics.jsonl", log)
    if not kept:
        (run / "metrics.jsonl").unlink()
    code, said = resumed(run, place, capsys)
    assert code == 0 and said.count(" lacks ") == bool(lost)
    assert f"metrics.jsonl: lacks {lost} of the 6 that this run has taken" in said or not lost
    assert [x["step"] for x in read_lines(run / "metrics.jsonl")] == [*kept, STEPS]


def test_a_run_without_a_checkpoint_says_that_it_begins_again(run, place, capsys):
    shutil.rmtree(run / "steps")
    code, said = resumed(run, place, capsys)
    assert code == 0 and "begins again" in said
    is_whole(run, place)


# ---- names of the hub ----------------------------------------------------------------------------
HUB = [["--init", "hub:them/x"], ["--data", "hub:them/x"],
       ["--data", "pairs.jsonl", "hub:them/x:train"], ["--eval-data", "hub:them/x"],
       ["--objective", "poft", "--aligned", "hub:them/x", "hub:them/y"],
       ["--objective", "distill", "--teacher", "hub:them/x"],
       ["--objective", "grpo", "--reward", "hub:them/x"]]


@pytest.mark.parametrize("more", HUB, ids=lambda x: " ".join(x))
def test_the_network_is_asked_only_for_what_the_command_line_names(
        more, run, place, capsys, monkeypatch):
    """run.json may come from somebody else. A name is taken only as that run had it."""
    asked: list[str] = []

    def ask(*args, **kw):
        asked.append(str(args))
        raise UserError("the network would be asked")
    monkeypatch.setattr("nanouft.models.folders.download", ask)
    monkeypatch.setattr("nanouft.data.files.hub_rows", ask)
    data = [] if "grpo" in more or "--data" in more else ["--data", str(place / "pairs.jsonl")]
    saved = read_json(run / "run.json")
    (run / "run.json").write_text(json.dumps(
        saved | {"argv": ["--init", str(place / "start"), *data, *more]}))
    code, said = resumed(run, place, capsys)
    assert code == 2 and not asked and "only if you name" in said, said
    named = said.partition("; add ")[2].split()
    other = [word.replace("them", "others") for word in named]
    assert set(named) >= {word for word in more if "hub:" in word}
    assert command(train.main, ["--resume", str(run), *other]) == 2
    assert "only if you name" in one_error(capsys) and not asked
    assert command(train.main, ["--resume", str(run), *named]) == 2
    earlier = bool({"grpo", "poft", "distill"} & {*more})   # that run was another one: known first
    assert ("the network would be asked" in one_error(capsys)) == (not earlier)
    assert len(asked) == (not earlier)


@pytest.mark.parametrize("argv", [
    ["--objective=grpo", "--reward={}"], ["--objective", "grpo", "--reward", "--", "{}"],
    ["--objective", "grpo", "--reward", "exact", "--reward", "{}"], ["--objective={}"],
    ["--out", "{}", "--objective", "{}"]], ids=" ".join)
def test_no_spelling_of_a_command_line_hides_code(argv, run, tmp_path, capsys):
    """A file of Python is not run unless this command line names it, however run.json does."""
    (tmp_path / "beside" / "r.py").write_text("open('ran', 'w')\n")
    words = [word.format("r.py:f") for word in argv]
    (run / "run.json").write_text(json.dumps(read_json(run / "run.json") | {"argv": words}))
    assert command(train.main, ["--resume", str(run)]) == 2
    assert "only if you name" in one_error(capsys)
    assert not (tmp_path / "beside" / "ran").exists()


# ---- what is refused is refused before the work --------------------------------------------------
@posix
@pytest.mark.parametrize("out", ["/proc/none/run", "/dev/null/run", "a\0b", "x" * 300])
@pytest.mark.parametrize("program, reads", [
    (train, "load.open_model"), (reward, "start_model"), (pretrain, "token_rows")])
def test_a_name_that_cannot_be_written_is_refused_before_anything_is_read(
        program, reads, out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"{program.__name__}.{reads}",
                        lambda *told: pytest.fail("something was read"))
    assert command(program.main, ["--device", "cpu", "--out", out]) == 2
    told = one_error(capsys)
    assert told.startswith("error: --out ") and "cannot be written (" in told
    assert not list(tmp_path.iterdir())


def test_a_name_that_can_be_written_is_not_made_by_the_look_at_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (None, "a/b/c"):
        check_free(out)
        assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    check_free("a")
    assert (tmp_path / "a").exists(), "it was there"


@pytest.mark.parametrize("program", [train, reward, pretrain])
def test_a_taken_name_is_gone_on_with_only_where_that_can_be(program, run, tmp_path, capsys):
    """By the program that can: a folder of a reward model or of a base has no --resume."""
    write_json(tmp_path / "run.json", {"command": "reward"})
    for folder, goes_on in ((run, f", or python -m nanouft.train --resume {run}"), (tmp_path, "")):
        assert command(program.main, ["--device", "cpu", "--out", str(folder)]) == 2
        assert one_error(capsys).endswith(f"choose another name{goes_on}")


@pytest.mark.parametrize("left", [[], ["run.json.partial"]])
def test_a_first_model_that_was_stopped_at_its_very_start_is_made_again(
        left, tmp_path, monkeypatch):
    """It had no run.json yet."""
    monkeypatch.chdir(tmp_path)
    objective, cfg, _ = read_flags(["--objective", "poft", "--rows", "8"])
    found: list[bool] = []

    def train_one(argv: list[str]) -> int:
        folder = Path(argv[argv.index("--out") + 1])
        found.append(folder.exists())
        folder.mkdir(parents=True)
        for name in left:
            (folder / name).write_text("{")
        return 0
    for _ in range(2):
        with_first_models(objective, cfg, train.devices.choose_device("cpu", "fp32"), train_one)
    assert found == [False, False]


def test_a_run_that_cannot_go_on_is_refused_before_its_rows_are_read_by_a_model(
        tmp_path, monkeypatch):
    line = ["--objective", "dpo", "--rows", "40", "--steps", "2", "--batch-size", "4", "--plain",
            "--device", "cpu", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(train.evaluation, "evaluate_run",
                        lambda *told: (_ for _ in ()).throw(UserError("x")))
    with pytest.raises(UserError, match="x"):           # it ends before its first step
        train.main(line)
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(about | {"key": "another"}))
    monkeypatch.setattr(train, "source_of_steps", lambda *told: pytest.fail("rows were read"))
    with pytest.raises(UserError, match="has changed since that run began"):
        train.main(["--resume", str(tmp_path / "run"), "--device", "cpu"][:2])
