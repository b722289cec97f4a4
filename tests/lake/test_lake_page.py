"""The page of the lake without a browser: its JavaScript learns what torch learns and finds the
ways of demos.py; the file needs nothing else, cannot be broken out of, and its colours are told
apart.
"""
import json
import re

import pytest
import torch
from browser import node
from studied import HP, STUDY, VERDICTS

from frozen_lake import demos, page
from frozen_lake.demos import LOSERS, ghosts, gold, moves_of_loser
from frozen_lake.lake import MAPS, Lake, make_lake
from frozen_lake.learn import Task, learn, method, task_of
from frozen_lake.measure import distance
from frozen_lake.planning import greedy, optimal_actions, success
from frozen_lake.policies import Table, start_policy
from lab.lake_study import random_lake

LAKE = make_lake("twoway5")


# ---- lake.js and ways.js against Python ----------------------------------------------------------
def run(code: str, lake: Lake = LAKE):
    """The value of `out` after `code`, where lake.js and ways.js are known."""
    return node(f"""globalThis.Lake = require({json.dumps(str(page.WEB / "lake.js"))});
        const Ways = require({json.dumps(str(page.WEB / "ways.js"))});
        const map = Lake.lake({json.dumps(lake.rows)}), gold = Lake.walk(map, Ways.best(map));
        {code}""")


@pytest.mark.parametrize("name, hp, kind", [
    ("sft", {}, "detour"), ("ift", {}, "detour"), ("ift", {"lam": 0.5, "gamma": 0.5}, "fall"),
    *(("dpo", {}, kind) for kind in LOSERS), ("dpo", {"beta": 1.0}, "fall"),
    ("orpo", {}, "dither"), ("orpo", {"orpo_lam": 0.25}, "detour")])
def test_20_steps_of_javascript_are_20_steps_of_torch(name, hp, kind):
    given = {"lam": 0.2, "gamma": 0.95, "beta": 0.1, **hp, "lamOdds": hp.get("orpo_lam", 1.0)}
    start, *theirs = run(f"""const start = Ways.student(map, gold); out = [start];
        const data = {{map, gold, loser: Lake.walk(map, Ways.{kind}(map)), ...{json.dumps(given)}}};
        const last = Lake.train("{name}", start, data, {{lr: 0.05}}, 20,
            (i, t) => out.push(t.map(Lake.softmax)));
        out.push(last.map(Lake.softmax))""")
    table = Table(1, LAKE.S)
    table.table.data = torch.tensor(start, dtype=torch.float64)[None]
    ours = learn(task_of(LAKE, 1, kind), table,
                 method(name, **{"lam": 0.2, "gamma": 0.95, "beta": 0.1, **hp}), 20,
                 lr=0.05)
    gap = torch.tensor(theirs, dtype=torch.float64) - ours.policies[:, 0]
    assert gap[:, LAKE.live].abs().max() < 1e-6
    assert (ours.policies[-1] - ours.policies[0]).abs().max() > 0.1, \
        "nothing was learnt: the comparison says nothing"


@pytest.mark.parametrize("lake", [*(make_lake(name) for name in MAPS),
                                  *(random_lake(seed) for seed in range(6))],
                         ids=lambda lake: lake.name)
def test_javascript_finds_the_ways_that_python_finds(lake):
    def moves(way):
        return way and [a for _, a in way]
    live, good, best, detour, fall, dither, told = run("""
        out = [map.live, Lake.best(map), Ways.best(map), Ways.detour(map), Ways.fall(map),
               Ways.dither(map), Ways.ghosts(map, gold)]""", lake)
    assert live == lake.live
    assert [good[s] for s in live] == [optimal_actions(lake)[s].nonzero()[:, 0].tolist()
                                       for s in live]
    assert [best, detour, fall, dither] == [moves(way) for way in (
        demos.best_path(lake), demos.detour(lake), demos.fall(lake), demos.dither(lake))]
    assert told == [{"at": g.at, "right": g.right} for g in ghosts(lake, gold(lake))]


def test_javascript_measures_what_python_measures():
    policies = torch.rand(5, LAKE.S, 4, generator=torch.Generator().manual_seed(0),
                          dtype=torch.float64)
    policies = policies / policies.sum(-1, keepdim=True)
    far, arrive, blame, twice = run(f"""const p = {json.dumps(policies.tolist())};
        out = [p.map((x) => Lake.distance(map, x)), p.map((x) => Lake.arrives(map, x)),
               Lake.blame(map, gold, Lake.walk(map, Ways.detour(map))),
               Lake.blame(map, gold, Lake.walk(map, Ways.dither(map)))]""")
    assert torch.allclose(torch.tensor(far, dtype=torch.float64),
                          distance(LAKE, policies)[:, LAKE.live].mean(-1))
    assert arrive == success(LAKE, greedy(policies))[:, LAKE.live].sum(-1).tolist()
    names = {"shared": "cancels", "optimal": "right", "wrong": "wrong"}
    assert blame == [names[x] for x in moves_of_loser(LAKE, gold(LAKE), demos.detour(LAKE))]
    # dither walks twice over the best way: each of its moves cancels once. The step back is wrong.
    # The same step made again stands alone: pushed down, though it is right.
    assert (twice.count("cancels"), twice.count("right"), twice.count("wrong")) == (8, 1, 1)


def test_the_walker_imitates_the_worse_way_and_then_the_best_as_in_torch():
    start, theirs = run("""const start = Ways.student(map, gold);
        out = [start, Ways.walker(map, gold, start).table.map(Lake.softmax)]""")
    table, best, worse = Table(1, LAKE.S), task_of(LAKE, 1), [demos.detour(LAKE)]
    table.table.data = torch.tensor([start], dtype=torch.float64)
    for task, updates in ((Task(best.lakes, worse, worse), 30), (best, 20)):
        policy = learn(task, table, method("sft"), updates, lr=0.02).policies[-1]
        table.table.data = policy.log()
    assert (policy[0] - torch.tensor(theirs))[LAKE.live].abs().max() < 1e-6


def test_javascript_says_what_claim_c7_says_of_the_walker():
    task, n, here = task_of(LAKE, 1), 20_000, 1.0
    start = start_policy("table", "presub", task, [0])
    policy = learn(task, start, method("sft"), 10, lr=0.02).policies[-1][0]
    *said, on = run(f"""const p = {json.dumps(policy.tolist())};
        const says = (lam) => Lake.chance(map, p.map((row) => row.map(Math.log)), gold, lam);
        out = [says(0), says(0), says(0.2), says(0.5), says(1), Lake.reach(map, p),
               Lake.along(map, p, gold, {n}, Ways.uniform(1))]""")
    theirs = json.loads((page.pages.DOCS / "results" / "C7.json").read_text())["lake"]
    assert said == pytest.approx(list(theirs.values()), abs=1e-6)
    for count, (cell, move) in zip(on, [*gold(LAKE), (0, 0)], strict=True):
        assert abs(count / n - here) <= 4 * (here * (1 - here) / n) ** 0.5
        last, here = here, here * float(policy[cell, move])
    assert last == pytest.approx(said[0]), "SFT's estimate is the chance of this walk"


def test_on_ice_from_which_no_way_leads_a_student_walks_in_circles():
    """A pocket of ice closed off by holes is not live, as in Python; it is no hole either."""
    pocket = Lake("pocket", ("SFFG", "FHHH", "FFFF"))
    live, end = run("""const down = map.cells.map(() => [0, 1, 0, 0]);
        out = [map.live, Lake.drop(map, down, 0).end]""", pocket)
    assert live == pocket.live and end == "loop"


# ---- the file ------------------------------------------------------------------------------------
def test_a_map_of_ones_own_is_the_map_of_the_page(tmp_path):
    mine = {"name": "my", "rows": ["SFFF", "FHHF", "FFFG"], "slippery": True}
    file = page.write(tmp_path, {"map": mine, "hp": HP | {"steps": 2}, "study": None})
    text = file.read_text(encoding="utf-8")
    assert '"rows":["SFFF","FHHF","FFFG"]' in text
    assert "this page does not" in text, "the page's students are not slippery, and it says so"


def test_the_study_reaches_the_page_and_cannot_break_out_of_it(content, tmp_path):
    study = json.loads(json.dumps(STUDY))
    study["verdict"] = "</script><img src=x onerror=a> /*SCRIPTS*/ \x1b"
    study["verdicts"]["holds"] = "<b>"
    shown = page.pages.each_string(page.verdicts(study), page.pages.html)
    assert shown["settings"] == len(VERDICTS)
    filled = page.fill(content | {"study": shown}, tmp_path)
    assert filled.count("</script>") == 1 and "<img src=x" not in filled and "\x1b" not in filled
    assert "&lt;img src=x onerror=a&gt; /*SCRIPTS*/ \\\\x1b" in filled, \
        "and a place inside the data is no place"
    assert page.verdicts(None) is None
    odd = {"\x1b": ["\x1b", ("\x1b", [1, None, True])]}
    shown = {"\\x1b": ["\\x1b", ["\\x1b", [1, None, True]]]}
    assert json.loads(page.pages.script_json(odd)) == shown


def luminance(colour: str) -> float:
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def mixed(a: str, b: str, share: float) -> str:
    parts = [(int(a[i:i + 2], 16), int(b[i:i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * x + (1 - share) * y):02x}" for x, y in parts)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_signs_have_enough_contrast(file, dark):
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)",
                       file.read_text(encoding="utf-8"))
    c = {name: (light, black)[dark] for name, light, black in found}
    lines, signs = ["up", "down", "sft", "ift", "dpo", "orpo"], ["up", "down"]
    text = [(c[name], c[ground]) for name in ["ink", "soft", *lines] for ground in ("bg", "panel")]
    text += [(c["ink"], mixed(c[sign], c["ice"], 0.45)) for sign in signs]
    text += [(c["bg"], c[sign]) for sign in signs]
    seen = [(c[name], c[ground]) for name in ["soft", "goal", *lines] for ground in ("ice", "bg")]
    seen += [(c["edge"], c["bg"]), (c["edge"], c["panel"]), (c["water-edge"], c["water"]),
             (c["ink"], c["ice"])]
    # an arrow on its own tinted cell
    seen += [(c[sign], mixed(c[sign], c["ice"], 0.16)) for sign in signs]
    for pairs, least in ((text, 4.5), (seen, 3)):
        assert not [(a, b) for a, b in pairs if contrast(a, b) < least]
    assert max(contrast(c["water"], c["ice"]), contrast(c["water-edge"], c["ice"])) >= 3, \
        "a hole is told from ice"
