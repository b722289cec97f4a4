"""The committed figures once more, from the kept cells alone: json, numpy, scipy, and nothing of
this project.

    python -m pytest lab/tests/test_recomputed.py        10 s
"""
import base64
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
FAMILIES = ("rules", "rules_new", "list", "sum", "sort", "reverse", "truth", "fact", "unknown")
APART = 50_000_000          # added to a seed for other demonstrations than those of the start


def read_json(*place: str):
    return json.loads(RESULTS.joinpath(*place).read_text(encoding="utf-8"))


def read_cells(study: str) -> list[dict]:
    text = (RESULTS / study / "cells.jsonl").read_text(encoding="utf-8")
    return list({c["key"]: c for c in map(json.loads, text.splitlines())}.values())


def unpacked(text: str) -> np.ndarray:
    """(P,) scores of answers, kept in 240ths."""
    return np.frombuffer(base64.b64decode(text), np.uint8) / 240


def scores(cells: list[dict], parts) -> list[np.ndarray]:
    """(S,P) a family: every answer times the family's weight in the mean over parts of the mean
    over families; a run that diverged has learnt nothing."""
    return [np.stack([np.zeros(c["items"]) if "failed" in c else unpacked(c["each"][family])
                      for c in cells]) / len(parts) / len(part) for part in parts
            for family in part]


def agrees(mean: float, half: float, gaps: list[np.ndarray]) -> None:
    """The mean is that of the cells, and the half width is Student's t (1.96 to 2.78), or nearly,
    times the standard error for other seeds and prompts: from the variance of seeds, of prompts,
    and of what is left, which the first two hold once too often. (It takes all prompts as different
    questions.)"""
    assert abs(mean - sum(g.mean() for g in gaps)) < 6e-7
    S, variance = len(gaps[0]), sum(g.mean(1) for g in gaps).var(ddof=1) / len(gaps[0])
    for g in gaps:
        P, rest = g.shape[1], g - g.mean(0) - g.mean(1, keepdims=True) + g.mean()
        variance += max(0,
                        g.mean(0).var(ddof=1) / P - (rest ** 2).sum() / (S - 1) / (P - 1) / S / P)
    assert 1.8 < half / np.sqrt(variance) < 2.95


def word(mean: float, half: float, limit: float = 0.0) -> str:
    return ("holds" if mean - half > limit else "does not hold" if mean + half < limit
            else "undecided")


# Student, 4 degrees: 1 to 100 looks against one
WIDER = student.ppf(1 - 0.025 / np.arange(1, 101), 4) / student.ppf(0.975, 4)
LIMITS = {"superiority": (0,), "non-inferiority": (-0.02,), "equivalence": (-0.02, 0.02)}


def holm(preset: list[tuple[str, dict]]) -> None:
    """The clearest is judged for all looks, the next for one less; after a doubt all are undecided.
    What four degrees of freedom ask of so many looks is the most that can be asked, one look the
    least."""
    far = [min(abs(x["mean"] - limit) for limit in LIMITS[test]) / max(x["half"], 1e-9)
           for test, x in preset]
    doubt = False
    for looks, i in zip(range(len(preset), 0, -1),
                        sorted(range(len(preset)), key=lambda i: -far[i])):
        test, found = preset[i]
        assert found["verdict"] == "undecided" or not doubt
        assert found["verdict"] != "undecided" or doubt or far[i] <= WIDER[looks - 1], (
            "it was clear enough")
        assert found["verdict"] == "undecided" or far[i] > 1, "it was not clear"
        doubt = doubt or found["verdict"] == "undecided"
        good = (abs(found["mean"]) < 0.02
                if test == "equivalence" else found["mean"] > LIMITS[test][0])
        assert found["verdict"] in {"undecided", "holds" if good else "does not hold"}


# ---- claims --------------------------------------------------------------------------------------
def test_every_contrast_of_the_claims():
    """A row has one command, the named base, test prompts and the same seeds as every other row."""
    cells, compared = {c["key"]: c for c in read_cells("claims")}, 0
    for claim in read_json("claims", "results.json")["claims"].values():
        def row(name: str, base: str, parts, claim=claim) -> list[np.ndarray]:
            about = claim["bases"][base]["rows"][name]
            found = [cells[key] for key in about["keys"]]
            assert {(c["flags"], c["base"], c["split"], c.get("prompts", 0)) for c in found} == {
                (about["flags"], base, "test", claim["prompts"])}, name
            assert [c["seed"] % APART for c in found] == claim["seeds"], name
            return scores(found, parts)
        for c in claim["contrasts"]:
            for base, found in c["bases"].items():
                names = (c["row"], c["other"], *reversed(c["minus"] or ()))
                of = [row(name, base, c["parts"]) for name in names]
                gaps = [sum((-1) ** i * g for i, g in enumerate(family)) for family in zip(*of)]
                agrees(found["mean"], found["half"], gaps)
                if not c["preset"]:
                    limit = -0.02 if c["test"] == "non-inferiority" else 0
                    assert found["verdict"] == word(found["mean"], found["half"], limit)
                compared += 1
            verdicts = {b["verdict"] for b in c["bases"].values()}
            assert (c["verdict"] == (verdicts.pop()
                                     if len(verdicts) == 1 else "undecided")), c["text"]
        for base in claim["bases"]:
            holm([(c["test"], c["bases"][base]) for c in claim["contrasts"] if c["preset"]])
    assert compared >= 60


def test_all_claims_as_one_family_and_the_borders_of_the_searches():
    results = read_json("claims", "results.json")
    told, claims = results["one family"], results["claims"].values()
    preset = {c["text"]: c for claim in claims for c in claim["contrasts"] if c["preset"]}
    assert told["preset"] == len(preset) == results["preset"]
    for base in next(iter(claims))["bases"]:
        holm([(c["test"], c["bases"][base] | {"verdict": told["verdicts"][text][base]})
              for text, c in preset.items()])
    decided = [text for text, c in preset.items() if c["verdict"] != "undecided"]
    common = {text: set(bases.values()) for text, bases in told["verdicts"].items()}
    assert told["decided"] == len(decided) and told["undecided together"] == [
        text for text in decided if len(common[text]) > 1 or common[text] == {"undecided"}]
    tried = [s for claim in claims for rows in claim["search"].values() for s in rows.values()
             if s["tried"]]
    at_border = [s for s in tried if any(at_end(s, flag) for flag in s["chosen"])]
    assert results["searches"] == len(tried)
    assert results["at a border"] == len(at_border) >= results["at an edge"]
    assert all(set(s["edges"]) <= set(s["borders"]) for s in tried)


def at_end(search: dict, flag: str) -> bool:
    """Is the chosen value the least or the largest that was tried?"""
    i = list(search["chosen"]).index(flag)
    values = sorted({float(setting.split()[i]) for setting in search["tried"]})
    return float(search["chosen"][flag]) in (values[0], values[-1])


def test_the_claim_of_noisy_lambda():
    """Of docs/papers.md: new runs against those of IFT as released in C1, seed by seed."""
    claim = read_json("claims", "results.json")["claims"]["C1"]
    told = read_json("papers", "papers.json")["noisy"]["numbers"]
    old, words = {c["key"]: c for c in read_cells("claims")}, set()
    for base, found in told["bases"].items():
        keys = claim["bases"][base]["rows"]["IFT as released"]["keys"]
        new = sorted((c for c in read_cells("papers") if "--lam-noise 0.5" in c["flags"]
                      and c["base"] == base), key=lambda c: c["seed"])
        plain = [old[key] for key in keys]
        assert [c["seed"] for c in new] == [c["seed"] for c in plain] == claim["seeds"]
        assert {c["flags"].replace(" --lam-noise 0.5", "") for c in new} == {plain[0]["flags"]}
        both = zip(scores(new, [FAMILIES]), scores(plain, [FAMILIES]))
        agrees(found["mean"], found["half"], [a - b for a, b in both])
        assert found["verdict"] == word(found["mean"], found["half"])
        words.add(found["verdict"])
    assert told["verdict"] == (words.pop() if len(words) == 1 else "undecided")


def test_a_strong_aligned_model_against_a_weak_one():
    """Of docs/papers.md: rows of C4."""
    rows = read_json("claims", "results.json")["claims"]["C4"]["bases"]["base"]["rows"]
    cells = {c["key"]: c for c in read_cells("claims")}
    strong, weak = (scores([cells[key] for key in rows[row]["keys"]], [FAMILIES])
                    for row in ("PoFT, 40 %", "PoFT, weak aligned model, 40 %"))
    found = read_json("papers", "papers.json")["aligned"]["numbers"]["strong minus weak"]
    agrees(*found, [a - b for a, b in zip(strong, weak)])


# ---- every method in one table -------------------------------------------------------------------
def test_scores_and_costs_of_the_comparison():
    """Every row's score is the mean of its cells, and docs/claims.md tells its cost as it is."""
    results, cells = read_json("compare", "results.json"), read_cells("compare")
    for name, row in results["rows"].items():
        mine = [c["mean"] for c in cells if "failed" not in c and c["flags"] == row["flags"]
                and c.get("after", "") == row["after"]]
        assert row["figures"]["score"][0] == pytest.approx(np.mean(mine)), name
    page = (RESULTS.parent / "claims.md").read_text(encoding="utf-8")
    for title, name in {"IFT (detached weights; one more forward)": "ift", "ORPO": "orpo",
                        "SFT -> DPO": "sft->dpo",
                        "SFT -> PPO": "sft->ppo", "SFT -> online UNA": "sft->online_una"}.items():
        mean, half = results["rows"][name]["figures"]["score"]
        cost = results["rows"][name]["cost"]["relative"]
        assert f"| {title} | {cost:.2f} | {100 * mean:.1f} ± {100 * half:.1f} |" in page


# ---- the map -------------------------------------------------------------------------------------
MAP = read_json("map", "map.json")


@pytest.fixture(scope="module")
def cells_of():
    """(regime, row) -> its cells, seed by seed: by flags, base, and who answered how many prompts,
    judged how."""
    test = [c for c in read_cells("map") if c["split"] == "test"]

    def of(r: dict, row: dict) -> list[dict]:
        objective = {"RFT": "sft", "SFT": "sft"}.get(row["name"], row["name"].lower())
        wanted = [f"--objective {objective} ",
                  *(f"{flag} {value} " for flag, value in row["settings"].items())]
        if row["name"] == "SFT":
            wanted += [f"--rows {r['demos']} "] + [f"--noise {r['noise']:g} "] * bool(r["noise"])
        elif row["name"] != "RFT" and "steps" in r:
            wanted += [f"--steps {r['steps']} "]
        who = {"prompts": r["samples"] // 4, "samples": 4, "labelled": 0, "demos": r["demos"],
               "noise": r["noise"],
               "errs": r["errs"]}
        found = {c["seed"]: c for c in test if (c["base"] == "base") == (r["base"] == "base")
                 and all(flag in c["flags"] + " " for flag in wanted)
                 and (r["noise"] or "--noise" not in c["flags"])
                 and ({k: c["own"][k] for k in who} == who if "own" in c else row["name"] == "SFT")}
        return [found[seed] for seed in range(5)]
    return of


def test_every_gain_of_the_map(cells_of):
    compared = 0
    for r in (r for r in MAP["regimes"] if r["source"] not in ("learnt", "spoilt")):
        rows = {row["name"]: row
                for row in r["rows"] if row["name"] != "SFT on the right demonstrations"}
        of = {name: scores(cells_of(r, row), [FAMILIES]) for name, row in rows.items()}
        for name, row in rows.items():
            assert row["endpoint"][0] == pytest.approx(np.sum(of[name]) / 500, abs=6e-7)
            if name != "SFT":
                agrees(*row["gain"], [a - b for a, b in zip(of[name], of["SFT"])])
                words = {"holds": "better", "does not hold": "worse"}
                expected = words.get(word(*row["gain"]), "equal or undecided")
                assert (row["verdict"] in expected or row["borrowed"]
                        and row["verdict"] == "undecided"), (r["name"], name)
                compared += 1
    assert compared >= 110


def test_every_exchange_rate(cells_of):
    """So many demonstrations give SFT the score of a row: straight lines over the logarithm, the
    last one prolonged."""
    places = {(r["demos"], r["samples"], r["errs"]): r for r in MAP["regimes"]
              if r["piece"] in ("grid", "judges") or (r["piece"] == "long" and r["base"] == "base")}

    def of(place: tuple, name: str) -> np.ndarray:
        """(F,S,P)"""
        r = places[place]
        return np.array(scores(cells_of(r, next(row for row in r["rows"] if row["name"] == name)),
                               [FAMILIES]))
    demos = sorted({d for d, _, _ in places})
    curve = np.array([of((d, 1000, 0), "SFT") for d in demos])  # (D,F,S,P)
    rng = np.random.default_rng(7)

    def worth(score: float, sft: np.ndarray, had: int) -> float:
        sft = np.maximum.accumulate(sft) + 1e-9 * np.arange(len(sft))
        i = int(np.clip(np.searchsorted(sft, score) - 1, 0, len(demos) - 2))
        a, b = np.log(demos[i:i + 2])
        return float(np.exp(min(a + (b - a) * (score - sft[i]) / (sft[i + 1] - sft[i]), 20))) - had
    draws = [(rng.integers(0, 5, 4), rng.integers(0, 100, (len(FAMILIES), 100)))
             for _ in range(300)]

    def drawn(x: np.ndarray, seeds: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """(...,F,S,P) -> (...): over drawn seeds and, family by family, drawn prompts."""
        return (x[..., seeds, :].mean(-2)[..., np.arange(len(FAMILIES))[:, None], prompts].mean(-1)
                .sum(-1))
    levels = [drawn(curve, *d) for d in draws]
    for x in MAP["exchange"]:
        row = of((x["demos"], x["samples"], x["errs"]), x["row"])
        again = worth(row.sum() / 500, curve.sum((1, 2, 3)) / 500, x["demos"])
        assert x["worth"] == pytest.approx(again, rel=1e-4)
        assert x["answers"] is None or x["answers"] == pytest.approx(x["samples"] / x["worth"])
        drawn_worth = [worth(drawn(row, *d), sft, x["demos"]) for d, sft in zip(draws, levels)]
        low, high = np.percentile(drawn_worth, [2.5, 97.5])
        assert max(abs(low - x["low"]), abs(high - x["high"])) < 5 + 0.25 * (high - low), x


def test_the_second_world_at_thirty_demonstrations():
    """SFT on its ladder of updates, and what RFT gains from there: every place of the map's lines
    that begins with 30 sums."""
    cells = [c for c in read_cells("transfer") if c["split"] == "test"]

    def of(judged: int, errs: int) -> np.ndarray:
        """(S,P) of RFT, or of SFT alone."""
        found = {c["seed"]: unpacked(c["each"]["sums"]) for c in cells
                 if "demos-30.jsonl" in f"{c['flags']} {c.get('after', '')}"
                 and ("own" not in c if not judged else "own/demos" in c["flags"].replace("}", "")
                      and (4 * c["own"]["prompts"], c["own"]["errs"]) == (judged, errs))}
        return np.stack([found[seed] for seed in range(5)])
    sft, seen = of(0, 0), 0
    for x in MAP["transfer"]:
        if (x["where"], x["demos"], x["row"]) == ("sums", 30, "RFT"):
            assert x["sft"] == pytest.approx(sft.mean(), abs=1e-6)
            agrees(*x["gain"], [of(x["samples"], x["errs"]) - sft])
            seen += 1
    assert seen == 5


# ---- how far may a learnt reward be trusted? -----------------------------------------------------
def test_the_table_of_over_optimisation():
    """Every row of its page, letter by letter; curves end where the shortest ends."""
    arms: dict[tuple, list[dict]] = {}
    text = (RESULTS / "over_optimisation.jsonl").read_text(encoding="utf-8")
    for x in {c["key"]: c for c in map(json.loads, text.splitlines())}.values():
        arms.setdefault((x["part"], x["source"], x["pairs"]), []).append(x)

    def told(values, scale: float = 100) -> str:
        half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
        return f"{scale * np.mean(values):.1f} ± {scale * half:.1f}"
    expected = set()
    for (part, source, pairs), runs in arms.items():
        short = min(len(x["curve"]) for x in runs)
        score, kl, reward = (np.array([[p[name] for p in x["curve"][:short]] for x in runs])
                             for name in ("score", "kl", "reward"))          # (S,N)
        top, best_of = score.mean(0).argmax(), part == "best-of"
        name = {"exact": "the exact score", "noise": "noise"}.get(source, f"{pairs:,} pairs of "
                                                                  f"{source}")
        usual = [f"{100 * np.mean([x['curve'][i].get('usual', 0) for x in runs]):.0f}"
                 for i in (0, short - 1)]
        row = ["best of 64" if best_of else "PPO", name,
               told([x["agreement"] for x in runs]) if best_of else "", told(score[:, 0]),
               *(f"{told(score[:, i])}, {kl[:, i].mean():.1f}" for i in (top, -1)),
               told(score[:, -1] - score[:, 0]), told(reward[:, -1], 1),
               ", ".join(usual) if best_of else ""]
        expected.add(tuple(row))
    page = (RESULTS / "over_optimisation.md").read_text(encoding="utf-8").splitlines()
    shown = {tuple(x.strip() for x in line.split("|")[1:-1]) for line in page[4:]}
    assert shown == expected and len(shown) == 9


# ---- where could IFT help? -----------------------------------------------------------------------
def test_the_experiments_with_made_tasks():
    """1 and 2: the score of the judged form minus plain's; "advantage": less the same in the
    control."""
    runs = [c for c in read_cells("ift_help") if c.get("split") == "test" and "task" in c]
    compared = 0
    switches = {"plain": "--lam 0 --gamma 0", "detached": "--lam 0",
                "released": "--lam 0 --variant released"}

    def of(task: str, form: str, rows: dict, fresh: bool) -> np.ndarray:
        """(S,P) of one arm at its chosen rate. Lists of things are named by their mean length."""
        about = rows[f"{task} {form}"]
        flags = switches.get(form, f"--lam 0 --variant released --{form}")
        flags += f" --lr {about['rate'].removesuffix(' (edge)')}"
        found = {c["seed"]: unpacked(c["scores"]) for c in runs if c["flags"].split(" ", 6)[6]
                 == flags and c["rows"] == about["examples"] and (c["seed"] >= 400) == fresh
                 and task in (c["task"], str(sum(c["lengths"]) // 2 * 2))}
        return np.stack([found[seed] for seed in sorted(found)])
    for name, committed in ((n, r)
                       for n, r in read_json("ift_help", "results.json").items() if n[0] in "12"):
        forms = {row.split(" ", 1)[1] for row in committed["rows"]} - {"plain"}
        form = min(forms, key=lambda form: form not in name)
        arms = committed["rows"], name[:2] in ("1c", "1d", "1e")
        gap = {task: of(task, form, *arms) - of(task, "plain", *arms)
               for task in {row.split()[0] for row in committed["rows"]}}
        wanted = {"beyond": [-gap["8"],
                             3 * gap["64"]], "loss at 64": [-gap["64"]]} if "8" in gap else {
                                 "gain": [gap["chain"]], "control": [gap["steps"]],
                                 "advantage": [gap["chain"], -gap["steps"]]}
        for figure, parts in wanted.items():
            agrees(*committed["judged"][figure], parts)
            compared += 1
        if "gain" in wanted:
            words = {word(*committed["judged"][figure], 0.02) for figure in ("gain", "advantage")}
            expected = ("does not hold" if "does not hold" in words
                        else "undecided" if len(words) > 1 else words.pop())
            assert committed["verdict"] == expected, name
    assert compared == 17
