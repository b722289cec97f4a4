"""What the page draws and how it sorts: draw.js and table.js, tried in node.

    python -m pytest tests/lab/test_draw.py        a second; wants node
"""
import json
import random
import re

from browser import node

from lab import page


def run(code: str):
    """The value of `out` after `code`, where table.js and draw.js are known."""
    return node("".join(f"const {name} = require({json.dumps(str(page.ASSETS / file))});"
                        for name, file in (("Table", "table.js"), ("Draw", "draw.js"))) + code)


def test_sorting_is_numeric_stable_and_keeps_what_is_missing_at_the_end():
    rows = [{"v": v, "k": k} for k, v in enumerate(["10", "", "9", "-1", "9", "1e-3"])]
    for down, want in ((False, [3, 5, 2, 4, 0, 1]), (True, [0, 2, 4, 5, 3, 1])):
        got = run(f"out = Table.sorted({json.dumps(rows)}, true, {json.dumps(down)}).map((r) => r.k)")
        assert got == want
    assert run("out = Table.sorted([{v: 'b'}, {v: ''}, {v: 'A'}], false, false).map((r) => r.v)") == ["A", "b", ""]


def test_labels_cover_neither_each_other_nor_a_point():
    """Twelve named points in a crowd of forty: every label has a place, and a free one."""
    rng = random.Random(1)
    points = [{"name": f"method_{i}", "px": rng.gauss(330, 60), "py": rng.gauss(230, 50), "named": i < 12}
              for i in range(40)]
    spots = run(f"out = Draw.place({json.dumps(points)}, (s) => 6.9 * s.length + 4, [56, 0, 660, 420])")
    labels = [s["b"] for s in spots if s]
    boxes = labels + [[p["px"] - 7, p["py"] - 7, p["px"] + 7, p["py"] + 7] for p in points]
    assert len(labels) == 12
    for i, a in enumerate(labels):
        for j, o in enumerate(boxes):
            assert i == j or a[0] >= o[2] or a[2] <= o[0] or a[1] >= o[3] or a[3] <= o[1]


def test_named_are_the_frontier_and_the_marked_point():
    points = [{"name": n, "group": "pairs", "x": x, "y": y, "tip": n} for n, x, y in
              (("cheap", 1, 50), ("dear", 4, 80), ("beaten", 3, 60), ("middle", 2, 70), ("last", 5, 10))]
    code = f"const p = {json.dumps(points)};"
    assert run(code + "out = Draw.frontier(p).map((q) => q.name)") == ["cheap", "middle", "dear"]
    svg = run(code + "out = Draw.scatter(p, {xlabel: 'x', ylabel: 'y', log: false, picked: 'last'})")
    assert re.findall(r'<text x="[^"]*" y="[^"]*">(\w+)</text>', svg) == ["cheap", "dear", "middle", "last"]
    assert svg.count('class="lead"') == 4 and svg.count('class="point') == 5


def test_an_interval_has_its_place_and_an_arrow_where_it_leaves_the_scale():
    inside, outside = run("out = [Draw.interval(-2.5, 2.5, -10, 5), Draw.interval(-30, 1, -10, 5)]")
    assert 'class="zero" d="M65.3,0' in inside and 'd="M34.7,7H65.3"' in inside and "<circle" in inside
    assert "<circle" not in outside


def test_curves_of_one_figure_share_their_scale():
    """A change from .7759 to .7758 is flat where another row moves by .1."""
    d = re.compile(r'<path class="held" d="M([^"]*)"')
    code = "out = Draw.curve('a', 'pairs', [[1, 0.5], [2, 0.4]], {name: 'auc', points: %s}, [0.7, 0.8], (x) => x)"
    svg = run(code % "[[1, 0.7759], [2, 0.7758]]")
    assert "auc" not in run(code % "[]"), "never measured: no held-out curve"
    first, last = (float(p.split(",")[1]) for p in d.search(svg)[1].split("L"))
    assert abs(first - last) < 0.5


def test_a_picture_escapes_every_name():
    svg = run("""const evil = `<img src=x onerror="a">'`, held = {name: evil, points: [[1, 0.5], [2, 0.4]]};
        out = Draw.curve(evil, evil, [[1, 1], ["<b>", 2]], held, [0, 1], (x) => x) + Draw.shape(evil)
        + Draw.scatter([{name: evil, group: evil, x: 1, y: 1, tip: evil}], {xlabel: evil, ylabel: evil});""")
    assert "<img" not in svg and "<b>" not in svg and "onerror=\"" not in svg and "&#39;" in svg


def test_axes():
    assert run("out = Draw.ticks(0.9, 4.2, true)") == [1, 1.5, 2, 3, 4]
    assert run("out = Draw.ticks(22, 97, false)") == [40, 60, 80]
