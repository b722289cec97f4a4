"""Keep the demonstrations that a helper finds most likely: the plain remedy for wrong ones.

    python -m lessons.evidence.keep --noise 0.4 --share 0.6 --aligned DIR --out out/kept
    python -m nanouft.train --objective sft --data out/kept/demos.jsonl
    python -m lessons.evidence.keep --data my.jsonl --share 0.8 --aligned DIR --out out/kept

The helper, a second model, says how likely each answer is, as the mean log-probability of its
tokens. PoFT reads the same number and gives each row a weight; here the least likely rows are
removed. --passed keeps instead the rows to which NanoWorld's scorer gives full marks.
"""
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import Row, read
from nanouft.data.selection import demo_rows
from nanouft.models.folders import start_model
from nanouft.objective import Count, Share
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say
from nanouft.plumbing.ranges import Natural
from nanouft.run.flags import parse
from nanouft.run.folder import check_free
from nanouft.run.reference import FrozenModels


@dataclass
class KeepFlags:
    aligned: str = ""               # folder of the helper model
    share: Annotated[float, "> 0", "<= 1"] = 0.8    # of the rows that stay
    data: list[str] | None = None   # your demonstrations [NanoWorld's]
    rows: Count = 1020              # NanoWorld demonstrations
    skills: str = "all"             # their tasks: A, B, all or names with commas
    noise: Share = 0.0              # share of them with a wrong response
    passed: bool = False            # keep those with full marks instead, by NanoWorld's scorer
    seed: Natural = 0               # seed of these rows
    out: str = "out/kept"           # folder of demos.jsonl

    def check(self) -> None:
        if self.passed and (self.data or self.aligned):
            raise UserError("--passed: cannot be combined with --data or --aligned, because "
                            "NanoWorld's scorer knows only its own rows")
        if not (self.aligned or self.passed):
            raise UserError("--aligned FOLDER: is required, a model trained on such responses, for "
                            "instance by python -m nanouft.train --objective sft --rows 4080 "
                            "--seed 900")


def trained_families(words: str) -> tuple[str, ...]:
    """Those that --skills names. UserError if training has none of them."""
    try:
        families, = world.parse_skills(words)
        world.rows("train", "demos", 0, 0, skills=families)
    except ValueError as e:
        raise UserError(f"--skills: {e}") from None
    return families


def likeliest(rows: list[Row], aligned: str, share: float) -> list[Row]:
    """The share of the rows that the model in `aligned` finds most likely, in their order."""
    model, tok = start_model(aligned)
    encoded, _ = encode(demo_rows(rows), tok, model.cfg.n_ctx)
    if len(encoded) < len(rows):
        raise UserError(f"{len(rows) - len(encoded):,} of {len(rows):,} rows are not "
                        f"demonstrations, or too long for {aligned}; remove them")
    ratings = FrozenModels(model, tok.pad, open=start_model).mean_logp(encoded, [aligned])
    best = sorted(range(len(rows)), key=lambda i: -ratings[i])[:max(1, round(share * len(rows)))]
    return [rows[i] for i in sorted(best)]


def right_demos(rows: list[Row]) -> list[Row]:
    """The demonstrations of NanoWorld that are right."""
    scores = world.exact_scores(rows, [row.answer[0].text for row in rows if row.answer])
    return [row for row, score in zip(rows, scores, strict=True) if score == 1]


def main(argv: list[str] | None = None) -> int:
    cfg = parse(KeepFlags, argv, "python -m lessons.evidence.keep", __doc__)
    check_free(cfg.out)
    families = trained_families(cfg.skills)
    rows = read(cfg.data)[0] if cfg.data else world.rows("train", "demos", cfg.rows, cfg.seed,
                                                         cfg.noise, families)
    kept = right_demos(rows) if cfg.passed else likeliest(rows, cfg.aligned, cfg.share)
    file = Path(cfg.out, "demos.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(
        row.extra if cfg.data else {"prompt": row.prompt[0].text, "response": row.answer[0].text}
        ) + "\n" for row in kept), encoding="utf-8")
    say(f"{file}: {len(kept):,} rows")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
