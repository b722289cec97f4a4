"""A file with answers of graded quality becomes scores, labels, pairs and demonstrations.

    python examples/graded_answers.py my.jsonl --prompt question --answers poor fair good

`--answers` names the fields of a row that hold its answers, from the worst to the best. The program
then prints commands that train UNA, KTO, UFT and PoFT on the files, and that show which of two
answers to a held-out prompt a model prefers. It writes to --out:
    scores.jsonl    every answer, score 0 (worst) to 1 (best) in equal steps
    labels.jsonl    the same, true above 1/2, false below; answers in the middle are left out
    pairs.jsonl     the best answer and the worst
    demos.jsonl     the best answer
    mixed.jsonl     one answer for each prompt, of any quality, without a grade: the case for PoFT
    test.jsonl      scores of a tenth of the prompts, which are in no other file
An answer that equals a better one gets its grade; empty answers are ignored. The text of a prompt
decides whether it is held out, so the same file gives the same split. Better answers are often
longer, and a long answer gains more log-prob as soon as the model learns that style, so plain SFT
scores well, too. Compare with SFT, not with 1/2.
"""
import hashlib
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft.errors import UserError
from nanouft.files.containers import objects
from nanouft.files.words import quoted_names
from nanouft.run import config
from nanouft.run.words import nearest


@dataclass
class Graded:
    prompt: str = "prompt"          # field that holds the prompt
    answers: list[str] | None = None    # fields that hold the answers, worst first
    out: str = "out/graded"         # folder for the new files

    def check(self) -> None:
        if len(self.answers or []) < 2:
            raise UserError("--answers needs the names of at least two fields, "
                            "the worst answer first")


def grades(item: dict, fields: list[str]) -> dict[str, float]:
    """{answer: grade from 0 to 1}, worst first; equal answers share the highest grade."""
    found = {}
    for i, field in enumerate(fields):
        answer = item.get(field)
        if isinstance(answer, str) and answer.strip():
            found.pop(answer.strip(), None)             # equal to a better one: it moves up
            found[answer.strip()] = i / (len(fields) - 1)
    return found


def rows_of(prompt: str, graded: dict[str, float]) -> dict[str, list[dict]]:
    """The rows of every file that one prompt gives."""
    number = int(hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest(), 16)
    scores = [{"prompt": prompt, "response": a, "score": round(g, 3)} for a, g in graded.items()]
    if number % 10 == 0:
        return {"test": scores}
    worst, best = next(iter(graded)), next(reversed(graded))
    some = list(graded)[number // 10 % len(graded)]
    labels = [{"prompt": prompt, "response": a, "label": g > 0.5}
              for a, g in graded.items() if g != 0.5]
    return {"scores": scores, "labels": labels,
            "pairs": [{"prompt": prompt, "chosen": best, "rejected": worst}],
            "demos": [{"prompt": prompt, "response": best}],
            "mixed": [{"prompt": prompt, "response": some}]}


def main(argv=None) -> int:
    parser = config.Parser(prog="python examples/graded_answers.py", description=__doc__)
    parser.add_argument("file", help="JSON list or JSON lines")
    config.add_flags(parser, Graded, "options")
    args = parser.parse_args(argv)
    cfg, _ = config.fill(Graded, vars(args))
    cfg.check()
    items, _ = objects(args.file)
    names = ("scores", "labels", "pairs", "demos", "mixed", "test")
    files: dict[str, list[dict]] = {name: [] for name in names}
    left_out = 0
    there = dict.fromkeys(key for _, item in items for key in item)
    if missing := [field for field in cfg.answers if field not in there]:
        raise UserError(f"{args.file}: no row has the field {quoted_names(missing)} of --answers; "
                        f"the fields are {quoted_names(there)}{nearest(missing[0], there)}")
    if len(set(cfg.answers)) < len(cfg.answers):
        raise UserError("--answers names a field twice")
    for where, item in items:
        prompt = item.get(cfg.prompt)
        if not isinstance(prompt, str):
            raise UserError(f'{where}: no text in the field "{cfg.prompt}"; '
                            "name the prompt with --prompt")
        graded = grades(item, cfg.answers)
        if len(graded) < 2 or not prompt.strip():
            left_out += 1
            continue
        for name, rows in rows_of(prompt, graded).items():
            files[name] += rows
    if not files["scores"]:
        raise UserError(f"{args.file}: no row has two different answers in "
                        + ", ".join(cfg.answers))
    out = Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (out / f"{name}.jsonl").write_text(lines, encoding="utf-8", errors="replace")
        print(f"{len(rows):7,} rows -> {out / name}.jsonl")
    if left_out:
        print(f"{left_out:,} of {len(items):,} rows left out: fewer than two different answers")
    print("\nNow (BASE is a model that has read such text, a GPT-2 folder or one made by "
          "nanouft.pretrain):")
    for name, used in (("una", ["scores"]), ("kto", ["labels"]), ("uft", ["demos", "scores"]),
                       ("sft", ["demos"]), ("poft", ["mixed"])):
        data = " ".join(shlex.quote(f"{out}/{file}.jsonl") for file in used)
        print(f"  python -m nanouft.train --init BASE --objective {name} --data {data} "
              f"--out out/graded-{name}" + " --aligned out/graded-sft" * (name == "poft"))
    print("  python -m nanouft.evaluate --init out/graded-una --data "
          + shlex.quote(f"{out}/test.jsonl"))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
