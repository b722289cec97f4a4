"""The learning rate of each row on a real model, chosen on validation prompts with another seed."""
import re
import shutil
from dataclasses import replace

import numpy as np

from lessons.evidence import cells
from lessons.evidence.claim import RATES, Claim, parts_of
from lessons.evidence.claims import CLAIMS
from lessons.evidence.verdicts import RESULTS


def choose_rates(name: str, seed: int = 990, prompts: int = 7, items: int = 20) -> list[str]:
    """Half of each row's training at each of RATES, scored on validation prompts. The scores are
    added to results/rates.csv, so that what was scored is not trained again."""
    claim, out = CLAIMS[name], []
    kept = RESULTS / "rates.csv"
    known = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    for row in claim.rows:
        flags, _ = parts_of(claim, row, 0)
        scored: dict[str, float] = {}
        stops: dict[str, float] = {}
        for rate in RATES:
            half = re.sub(r"--epochs (\S+)", lambda x: f"--epochs {float(x[1]) / 2:g}", flags)
            half = re.sub(r"--lr \S+", f"--lr {rate}", half)
            about = f'{name},"{row}",{rate},'
            line = next((x for x in known if x.startswith(about)), "")
            if not line:
                line = about + ",".join(f"{x:.4f}" for x in rate_scores(claim, half, seed, prompts,
                                                                       items))
                known.append(line)
                kept.write_text("\n".join(known) + "\n", encoding="utf-8")
            *scores, stop = map(float, line[len(about):].split(","))
            scored[rate], stops[rate] = float(np.mean(scores)), stop
        best = max(RATES, key=lambda rate: scored[rate])
        out.append(f"{name} {row:14} " + "   ".join(
            f"{rate}: {100 * x:.1f} ({100 * stops[rate]:.0f} % stop)" for rate, x in scored.items())
                   + f"   best {best}")
    return out


def rate_scores(claim: Claim, flags: str, seed: int, prompts: int, items: int) -> list[float]:
    """The score of each family, and the share of answers that stop, on validation prompts."""
    from nanouft.models.folders import start_model
    trial = replace(claim, rows={"trial": flags})
    folder = cells.made(trial, "trial", next(iter(claim.bases)), seed)
    answers = cells.answers_of(*start_model(folder), "val", claim, items, prompts)
    shutil.rmtree(folder)
    scores = cells.by_family(claim, answers, "score").mean(1)
    return [*scores, np.mean([x["ended"] for x in answers])]
