"""A blind sheet: two models respond to the same prompts, and people vote without their names.

    python -m nanouft.sample out/sft out/dpo --data new.jsonl --blind sheet.csv
    python -m nanouft.evaluate --votes sheet.csv

A row of the sheet has a prompt, both responses in random order, and room for a vote. Its key,
sheet.key.csv, says who gave which. They belong together if the names of their first columns, a hash
of the sheet, are equal. So rows may be sorted, and a spreadsheet may change a text.
"""
import csv
import hashlib
import io
import random
import re
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

from nanouft.data.batches import EncodeReport, encode_what_fits
from nanouft.data.files import items
from nanouft.data.holdout import leak, question_keys
from nanouft.data.report import report_use
from nanouft.data.rows import Row, read
from nanouft.data.selection import each_question
from nanouft.models.tokenizer import Turn, Turns
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import quantity, quiet, quoted, say, visible
from nanouft.run.evaluation import answer_rows
from nanouft.run.folder import trained_question_keys

VOTE = "vote: 1 or 2 or tie"            # no comma: the first line tells what is between cells
VOTES = {"1": "1", "2": "2", "tie": "", "0": "", "=": ""}
SAME = "same"                           # in the key: not in the sheet, because both are equal
COMPUTED = re.compile(r"[=+@-]|[\W\d_]*$")      # a spreadsheet shows another text: "- Water it."


# ---- to be voted on ------------------------------------------------------------------------------
def key_of(sheet: str) -> Path:
    return Path(sheet).with_suffix(".key.csv")


def check_flags(cfg: Any) -> None:
    """UserError for SampleFlags that make no sheet, or would write over one that has votes."""
    if len(cfg.models or ()) != 2 or not cfg.data or cfg.prompt or cfg.plain or cfg.n > 1:
        raise UserError("--blind: needs two models and --data FILE, and no --prompt, --plain or "
                        "--n, because both respond once to each prompt of the file")
    if not cfg.blind.lower().endswith(".csv"):
        raise UserError(f"--blind {cfg.blind}: the name must end with .csv")
    for file in (Path(cfg.blind), key_of(cfg.blind)):
        if file.exists():
            raise UserError(f"--blind: {file} exists, and votes may belong to it; give another "
                            "name")


def write_sheet(models: list, cfg: Any) -> dict[str, Any]:
    """Let both models, (name, model, tokenizer), respond, and write sheet and key. Returns their
    names, and the numbers of prompts that are asked and that have one response."""
    longest = cfg.max_new or min(1024, *(model.cfg.n_ctx // 2 for _, model, _ in models))
    rows = prompts_for_both(models, cfg, longest)
    texts = [[tok.decode(a.ids).strip() for a in answer_rows(
        model, tok, rows, longest, seed=cfg.seed, temperature=cfg.temperature,
        what=f"{name} responds")] for name, model, tok in models]
    of_both = [*zip((text_of(r.prompt) for r in rows), *texts)]
    asked = [x for x in of_both if x[1] != x[2]]
    same = [prompt for prompt, a, b in of_both if a == b]
    how = f"sampled at temperature {cfg.temperature:g}" if cfg.temperature else "greedy"
    say(f"{quantity(len(rows), 'prompts')}: one response of each model ({how}, at most "
        f"{quantity(longest, 'tokens')}); {quantity(len(same), 'equal pairs')}: ties, not asked")
    if not asked:
        raise UserError("--blind: all responses of the two models are equal; nothing to vote on")
    first = [i % 2 for i in range(len(asked))]              # each model is first in half of them
    random.Random(ascii([cfg.seed, asked])).shuffle(first)  # other responses, another order
    shown, key = [], []
    for i, (k, (prompt, *both)) in enumerate(zip(first, asked), 1):
        shown.append([i, cell(prompt), cell(both[k]), cell(both[1 - k]), ""])
        key.append([i, prompt, k + 1, 2 - k])           # the number of each model's response
    key += [["", prompt, SAME, SAME] for prompt in same]
    name = f"sheet {hashlib.sha256(ascii(shown).encode()).hexdigest()[:12]}"
    Path(cfg.blind).parent.mkdir(parents=True, exist_ok=True)
    write_csv(key_of(cfg.blind), [name, "prompt", *(model for model, *_ in models)], key)
    write_csv(Path(cfg.blind), [name, "prompt", "response 1", "response 2", VOTE], shown)
    say(f"{cfg.blind}: {quantity(len(asked), 'prompts')}, each with both responses in random order",
        f"{key_of(cfg.blind)}: who gave which response; keep it closed until all have voted",
        f"Write 1, 2 or tie into the last column, then: python -m nanouft.evaluate --votes "
        f"{quoted(cfg.blind)}", sep="\n")
    return {"sheet": cfg.blind, "key": str(key_of(cfg.blind)), "asked": len(asked),
            "same": len(same)}


def prompts_for_both(models: list, cfg: Any, longest: int) -> list[Row]:
    """Each different prompt of the files that leaves both models room for a response."""
    data, left_out = read(cfg.data, ["prompts"])
    system = (Turn("system", cfg.system),) if cfg.system else ()
    rows = [replace(r, prompt=(*system, *r.prompt), roles={"prompt": ((*system, *r.prompt), ())})
            for r in each_question(data, by_fields=False)]
    report = EncodeReport("lower --max-new")
    for name, model, tok in models:
        if text := leak({*question_keys(data)}, trained_question_keys(name)):
            say(f"{name}: {text}")
        room = model.cfg.n_ctx - 1 - min(longest, model.cfg.n_ctx // 2)
        encoded, _ = encode_what_fits(rows, tok, room, report)
        rows = [e.row for e in encoded]
    for text in (report_use({"used": (data, {r.where for r in rows})}, left_out, report.why,
                            ["prompts"]), *report.lines()):
        say(text)
    if not rows:
        raise UserError("--blind: no prompt leaves room for a response")
    return rows


def text_of(prompt: Turns) -> str:
    """A prompt as people read it: its text, or a dialogue with roles."""
    texts = [turn.text.strip() for turn in prompt]
    return texts[0] if len(texts) == 1 else "\n\n".join(
        f"{turn.role}: {text}" for turn, text in zip(prompt, texts))


def cell(text: str) -> str:
    """Behind an apostrophe a spreadsheet makes no formula, number or date of it."""
    return f"'{text}" if text and COMPUTED.match(text) else text or "(empty)"


def write_csv(file: Path, names: list[str], rows: list[list]) -> None:
    """As UTF-8 with the mark by which Excel knows it. A byte such as 0 would end the file there."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([names, *rows])
    write_text(file, "\ufeff" + visible(text.getvalue().replace("\r", "")))


# ---- the votes -----------------------------------------------------------------------------------
def count_votes(sheets: list[str]) -> dict[str, Any]:
    """The win rate of the second model over the first, without ties, and its interval, printed.
    Each voter has a sheet, and each prompt goes to the model with most of its votes."""
    models, same = list[str](), set[str]()
    leads: dict[str, int] = {}          # prompt -> votes for the second model, minus the first's
    for sheet in sheets:
        key, votes = read_votes(sheet)
        names = [*key[0]][2:]
        models = models or names
        if models != names:
            raise UserError(f"{sheet}: is about {' and '.join(names)}, and {sheets[0]} about "
                            f"{' and '.join(models)}; count each alone")
        for prompt, lead in votes:
            leads[prompt] = leads.get(prompt, 0) + lead
        of_sheet = {x["prompt"] for x in key if x[names[0]] == SAME}
        same |= of_sheet
        say(f"{sheet}: {quantity(len(votes), 'votes')}, {len(key) - len(of_sheet) - len(votes):,} "
            "missing")
    if not leads:
        raise UserError(f"{sheets[0]}: has no votes yet; write 1, 2 or tie in its column {VOTE}")
    wins, losses = (sum(sign * lead > 0 for lead in leads.values()) for sign in (1, -1))
    n, equal = wins + losses, same - leads.keys()
    ties = len(leads) - n + len(equal)
    low, high = wilson(wins, n)
    ahead, behind = models[::-1] if wins >= losses else models
    most = max(wins, losses)
    least, best = wilson(most, n)
    verdict = f"{ahead} is preferred to {behind}" if least > 0.5 else "undecided"
    who = "" if least > 0.5 else f"{ahead} won "
    say(f"{verdict}: {who}{most:,} of {quantity(n, 'prompts')}, 95 % CI {100 * least:.0f} to "
        f"{100 * best:.0f} %",
        f"Beside them {quantity(ties, 'ties')}, {len(equal):,} of which are equal responses. The "
        "CI (Wilson's) is over prompts; it does not cover another training seed.", sep="\n")
    return {"models": models, "wins": wins, "losses": losses, "ties": ties, "same": len(equal),
            "win_rate": wins / n if n else None, "low": low, "high": high, "verdict": verdict}


def wilson(wins: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z = NormalDist().inv_cdf(0.975)
    half = z * (wins * (n - wins) / max(n, 1) + z * z / 4) ** 0.5
    return (wins + z * z / 2 - half) / (n + z * z), (wins + z * z / 2 + half) / (n + z * z)


def read_votes(sheet: str) -> tuple[list[dict], list[tuple[str, int]]]:
    """(rows of its key, (prompt, 1 for the second model or -1 or 0) of each vote)."""
    rows, keys = table(sheet), [*map(table, map(str, Path(sheet).parent.glob("*.key.csv")))]
    number = [*rows[0]][0]
    key = next((key for key in keys if [*key[0]][0] == number), None)
    if key is None or VOTE not in rows[0]:
        raise UserError(f"{sheet}, row 1: no *.key.csv beside it has the column {number!r}, or "
                        f"{VOTE!r} is missing; put the sheet's own key there")
    votes, of_number = [], {x[number]: [*x.values()][1:] for x in key if x[number]}
    for row in rows:
        where, vote = f"{sheet}, row {row[number]}", row[VOTE].strip().lower()
        if row[number] not in of_number:
            raise UserError(f"{where}: the key has no row of this number; restore the first column")
        if vote and vote not in VOTES:
            raise UserError(f"{where}: the vote {vote[:40]!r} is not 1, 2 or tie")
        if vote:
            prompt, *responses = of_number[row[number]]
            votes.append((prompt, {"": 0, responses[0]: -1, responses[1]: 1}[VOTES[vote]]))
    return key, votes


def table(file: str) -> list[dict]:
    """Rows of a CSV file, by whatever program it was saved."""
    with quiet():                       # about long texts in quotation marks, as here
        rows = [*items(file)]
    for where, item in rows or [(file, UserError("is empty"))]:
        if isinstance(item, UserError):
            raise UserError(f"{where}: {item}")
    return [item for _, item in rows]
