"""What students hand in: folders or zips with my/ inside. Read so that no file can do harm.

    for entry in handed_in(Path("submissions")):
        my = clean_copy(entry, scratch / entry.stem)        # Unreadable: one line that says why

Only plain text files are copied, and only so many. A zip is never unpacked by its own names: if one
of them leads outside its folder, the whole zip is refused.
"""
import contextlib
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lessons.grade.folder import My
from nanouft.errors import UserError
from nanouft.run.words import quoted

KINDS = (".py", ".toml", ".json", ".jsonl", ".txt")
FILE, FILES, TOTAL = 1_000_000, 300, 10_000_000         # bytes of a file, files, bytes of all


class Unreadable(UserError):
    """This submission cannot be graded; the others can."""


# ---- the student's part --------------------------------------------------------------------------

def pack(my: My, out: str | None) -> None:
    """--pack: the text files of my/ as a zip."""
    files = dict(of_folder(my.path))
    if not files:
        raise UserError(f"--my {quoted(str(my.path))}: holds nothing to hand in; "
                        "python -m lessons.grade makes the folder")
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in my.name) or "my"
    target = Path(out or f"{name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for path, content in files.items():
            packed.writestr(f"my/{path}", content)
    print(f"{target}: {len(files)} files")
    if left_out := links(my.path):
        print(f"Links are not handed in. Copy the files: {', '.join(map(quoted, left_out))}")


# ---- the teacher's part --------------------------------------------------------------------------

def handed_in(folder: Path) -> list[Path]:
    """The submissions in a folder, by name."""
    if not folder.is_dir():
        raise UserError(f"--class {quoted(str(folder))}: is no folder")
    if any(folder.glob("*.py")):                    # it is itself a my/
        return [folder.resolve()]
    found = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    found = [p for p in found if p.is_dir() or p.suffix.lower() == ".zip"]
    if not found:
        raise UserError(f"--class {quoted(str(folder))}: holds neither folders nor zips; "
                        "a submission is one of these")
    return found


def clean_copy(entry: Path, target: Path) -> Path:
    """The files of my/ of this submission, copied to `target`."""
    files = {}
    for path, content in contents(entry):
        files[path] = content
        if len(files) > FILES or sum(map(len, files.values())) > TOTAL:
            raise Unreadable(f"holds more than {FILES} files or {TOTAL // 10**6} MB")
    home = home_of(files)
    target.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        if path.is_relative_to(home):
            place = target / path.relative_to(home)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    return target


def home_of(files: dict[PurePosixPath, bytes]) -> PurePosixPath:
    """The folder my/; where there is none, the highest folder with a program."""
    programs = sorted((p for p in files if p.suffix == ".py"), key=lambda p: (len(p.parts), str(p)))
    if not programs:
        raise Unreadable("holds no program (.py)")
    for path in programs:
        if "my" in path.parts[:-1]:
            return PurePosixPath(*path.parts[:path.parts.index("my") + 1])
    return programs[0].parent


def contents(entry: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """(path inside, content) of each text file of a folder or of a zip."""
    if entry.is_dir():
        zips = list(entry.glob("*.zip"))
        if len(zips) != 1 or any(entry.rglob("*.py")):
            yield from of_folder(entry)
            return
        entry = zips[0]                             # some systems put each upload into a folder
    try:
        with zipfile.ZipFile(entry) as packed:
            yield from of_zip(packed)
    except Unreadable:
        raise
    except Exception as e:                          # a damaged archive makes zlib say many things
        raise Unreadable(f"is no zip that can be read ({type(e).__name__})") from None


def of_folder(folder: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    for place in sorted(folder.rglob("*")):
        path = PurePosixPath(place.relative_to(folder).as_posix())
        if wanted(path) and stat.S_ISREG(place.lstat().st_mode):        # no link, no pipe
            with open(place, "rb") as file:
                yield path, at_most(file, path)


def links(entry: Path) -> list[str]:
    """Programs and cards of a submission that are links: they are not read."""
    if entry.is_dir():
        return [place.name for place in sorted(entry.rglob("*"))
                if place.is_symlink() and (place.suffix.lower() in KINDS or place.is_dir())]
    with contextlib.suppress(Exception), zipfile.ZipFile(entry) as packed:
        return [info.filename for info in packed.infolist()
                if stat.S_ISLNK(info.external_attr >> 16)]
    return []


def of_zip(packed: zipfile.ZipFile) -> Iterator[tuple[PurePosixPath, bytes]]:
    for info in packed.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in info.filename:
            raise Unreadable(f"names a file outside its folder: {quoted(info.filename)}")
        is_link = stat.S_ISLNK(info.external_attr >> 16)
        if wanted(path) and not info.is_dir() and not is_link:
            with packed.open(info) as file:
                yield path, at_most(file, path)


def wanted(path: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__")) for part in path.parts)
    return not hidden and path.suffix.lower() in KINDS


def at_most(file, path: PurePosixPath) -> bytes:
    """The content. What a zip says about its sizes is not believed."""
    content = file.read(FILE + 1)
    if len(content) > FILE:
        raise Unreadable(f"{quoted(str(path))} is larger than {FILE // 10**6} MB")
    return content
