"""Generated tables, read back: under each title stands its own figure, from cells and not by the
code that wrote the table.

    python -m pytest lab/tests/test_tables.py        3 s

One line of each kind of table is enough: a generator writes all lines alike.
"""
import numpy as np
from house import ROOT
from test_residual import area, numbers

from lab import papers, papers_draw
from nanouft.eval.plots import plt
from nanouft.run.storage import Lines, read_json
from nanouft.world import FAMILIES

DOCS, RESULTS = ROOT / "docs", ROOT / "docs" / "results"
MAP = {r["name"]: {row["name"]: row for row in r["rows"]}
       for r in read_json(RESULTS / "map" / "map.json")["regimes"]}


def told(file, *line: str, under: str = "") -> dict[str, str]:
    """{title: what stands below it} of the line that begins with these cells, in the first table
    after the words `under`."""
    text = file.read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in x.strip("|").split("|")]
            for x in text[text.index(under):].splitlines() if x.startswith("|")]
    found = next(i for i, row in enumerate(rows) if row[:len(line)] == [*line])
    rule = max(i for i, row in enumerate(rows[:found]) if set("".join(row)) == {"-"})
    return dict(zip(rows[rule - 1], rows[found]))


def points(pair, sign: str = "") -> str:
    return f"{100 * pair[0]:{sign}.1f} ± {100 * pair[1]:.1f}"


def test_a_row_of_a_claim():
    name, row = "C3c", "SFT (A) -> UFT (A + B)"
    claim = read_json(RESULTS / "claims" / "results.json")["claims"][name]
    cells = {c["key"]: c for c in Lines(RESULTS / "claims" / "cells.jsonl").read()}
    r = claim["bases"]["base"]["rows"][row]
    mine = [cells[key] for key in r["keys"]]
    line = told(RESULTS / "claims" / f"{name}.md", row, under="## Base `base`")

    def of(*families: str) -> float:
        """Mean over seeds and families, in percent."""
        return 100 * np.mean([[c["families"][f]["score"] for f in families] for c in mine])
    assert {f: line[f] for f in FAMILIES} == {f: f"{of(f):.0f}" for f in FAMILIES}
    parts = {"skills (B)": ("rules", "list", "sum", "sort", "reverse"),
             "honesty (A)": ("truth", "unknown"), "facts": ("fact",)}
    for title, families in parts.items():
        assert line[title].split(" ± ")[0] == f"{of(*families):.1f}", title
    mean = np.mean([of(*families) for families in parts.values()])
    assert line["endpoint"] == points(r["score"]) and line["endpoint"].startswith(f"{mean:.1f} ")
    assert line["minus SFT (A)"] == points(r["gap"], "+")
    ends = np.mean([c["families"]["list"]["ends"] for c in mine])
    assert line["lists that stop"] == f"{100 * ends:.0f}"
    assert line["GFLOP"] == f"{np.mean([c['spent']['flops'] for c in mine]) / 1e9:,.0f}"
    assert line["settings"] == "lr 1e-5 beta 0.3 epochs 1*", "one pass is the edge of its grid"


def test_figures_without_an_interval_in_the_account():
    """docs/claims.md: costs of C6, lists of C1d that stop, validation scores of C3c."""
    text = " ".join((DOCS / "claims.md").read_text(encoding="utf-8").split())
    folder = RESULTS / "claims"
    cost = [told(folder / "C6.md", row)["GFLOP"] for row in ("RFT", "UNA, scores")]
    assert "costs {} GFLOP, with UNA {}.".format(*cost) in text
    there = "IFT as released, settings of SFT"
    stop = [told(folder / "C1d.md", there, under=f"## Base `{base}`")["lists that stop"]
            for base in ("base", "docs/results/base-1")]
    assert "lists: {} and {} % of them stop".format(*stop) in text
    search = read_json(folder / "results.json")["claims"]["C3c"]["search"]["base"]
    una, both = (search[f"SFT (A) -> {row}"]["tried"] for row in ("UNA (B), up to 32 passes",
                                                                  "UFT (A + B)"))
    skills, honesty = ("rules", "list", "sum", "sort", "reverse"), ("truth", "unknown")
    rising = [100 * np.mean([np.mean([tried[f] for f in skills]),
                             np.mean([tried[f] for f in honesty]), tried["fact"]])
              for tried in (una[f"1e-5 0.3 {passes}"] for passes in (8, 16, 32))]
    assert "{:.1f}, {:.1f}, {:.1f} % after 8, 16, 32 passes".format(*rising) in text
    large = both["1e-4 0.3 8"]
    assert (f"rise to {100 * np.mean([large[f] for f in skills]):.0f} % on validation, but known "
            f"facts fall to {100 * large['fact']:.0f} %") in text


def test_rows_of_the_map():
    line = told(DOCS / "map.md", "KTO", under="## Which method?")
    for n in ("30", "100", "300", "1,020"):
        kto = MAP[f"{n} x 4,000"]["KTO"]
        star = " \\*" * (n in ("30", "1,020"))          # settings of 100, and of 1,000 answers
        assert line[f"{n} demonstrations"] == f"{points(kto['gain'], '+')}: {kto['verdict']}{star}"
    line = told(DOCS / "map.md", "100", "RFT", under="## Judges that err")
    places = {"never errs": "", **{f"{n} % misjudged": f", {n} % misjudged" for n in (5, 15, 30)}}
    for title, errs in places.items():
        assert line[title].startswith(points(MAP[f"100 x 4,000{errs}"]["RFT"]["gain"], "+"))


def test_a_row_of_c7():
    line = told(RESULTS / "C7.md", "100", under="## Base `base`")
    cells = [c for c in Lines(RESULTS / "C7.jsonl").read()
             if (c["base"], c["rows"]) == ("base", 100)]
    right = np.mean([numbers(c["right"], "u1") for c in cells]) / 4
    assert line["truth"] == f"{100 * right:.1f}"
    for name in cells[0]["logp"]:
        logp = [numbers(c["logp"][name], "<f2") for c in cells]
        assert line[name] == f"{100 * np.mean(np.exp(logp)):.1f}", name
        areas = [area(x, numbers(c["greedy"], "u1") == 1) for x, c in zip(logp, cells)]
        assert line[f"AUC {name}"] == f"{np.mean(areas):.3f}", name


def test_a_row_of_stopping():
    arms = {"untrained base": "untrained base", "SFT": "SFT", "IFT as released": "released",
            "last weight constant": "last weight constant", "IFT (detached weights)": "detached",
            "plain end": "plain end"}
    cells = [c for c in Lines(RESULTS / "stopping.jsonl").read()
             if (c["place"], c["tokens"]) == ("words", 8)]
    mean = {title: [np.mean([c[what] for c in cells if c["arm"] == arm])
                    for what in ("end", "stops")] for title, arm in arms.items()}
    line = told(RESULTS / "stopping.md", "words", "8")
    for title, (end, stops) in mean.items():
        assert line[title].startswith(f"{end:.2f}") and f"; {100 * stops:.0f} %" in line[title]
    line = told(RESULTS / "stopping.md", "words", "8", under="Differences of p(")
    for title in list(line)[2:]:
        one, other = title.split(" minus ")
        assert line[title].startswith(f"{mean[one][0] - mean[other][0]:+.3f} ± "), title


# ---- pictures ------------------------------------------------------------------------------------
AXES = {        # what lies along x and y, of each picture with two axes of numbers
    "grid": ("gamma (propagation)", "lambda (own guess)"), "loss": ("beta", "score, %"),
    "ratio": ("demonstrations (A) : scored answers (B), of 600 rows", "score, %"),
    "settings": ("beta", "learning rate"), "noise": ("wrong demonstrations, %", "score, %"),
    "passes": ("passes over the demonstrations, 40 % of them wrong", "score, %")}


def drawn(name: str, monkeypatch):
    """The first Axes of a figure of docs/papers.md."""
    monkeypatch.setattr(papers_draw, "save", lambda fig, file: fig)
    numbers = read_json(RESULTS / "papers" / "papers.json")[name]["numbers"]
    return getattr(papers_draw, name)(numbers, None).axes[0], numbers


def test_pictures_of_the_papers_name_what_they_show(monkeypatch):
    for name, labels in AXES.items():
        ax, _ = drawn(name, monkeypatch)
        assert (ax.get_xlabel(), ax.get_ylabel()) == labels, name
        plt.close("all")


def test_lines_and_squares_of_the_papers_are_where_their_axes_say(monkeypatch):
    ax, n = drawn("noise", monkeypatch)
    lines = {x.get_label(): x for x in ax.containers}
    for row, values in n["scores"].items():
        x, y = lines[row].lines[0].get_data()
        assert np.allclose(x, [0, 10, 20, 40, 60], atol=1)        # side by side
        assert np.allclose(y, [100 * v[0] for v in values])
    ax, n = drawn("grid", monkeypatch)
    assert [t.get_text() for t in ax.get_xticklabels()] == list(papers.GAMMAS)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(papers.LAMS)
    assert "as released" in ax.get_title()
    assert np.allclose(ax.images[0].get_array(), 100 * np.array(n["scores"]["as released"]))
    plt.close("all")
