"""The page in a real browser, opened from the disk: two models are taught side by side. It wants
Chromium or Chrome. Widths, names and axe's rules: lab/tests/test_all_pages.py. The sums:
test_playground.py.
"""
import re

import pytest
from browser import Browser

from nanouft.objectives import OBJECTIVES
from nanouft.playground import __main__ as playground
from nanouft.world import tasks

CALM = "!document.querySelector('[aria-busy=true]')"
LEFT, RIGHT = 0, 1


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    assert playground.main(["--out", str(folder)]) == 0
    return folder / "index.html"


def opened(b: Browser, file, address: str = "", **how) -> None:
    b.open(file, address, **how)
    b.wait(CALM)


def text(b: Browser, part: str, side: int) -> str:
    return b.js(f"document.querySelectorAll('.{part}')[{side}].innerText")


def bars(b: Browser, side: int, strip: int = 0) -> list[float]:
    """The numbers at the bars of one answer in one column."""
    shown = b.js(f"[...document.querySelectorAll('.pushes')[{side}].querySelectorAll('.bars')"
                 f"[{strip}].querySelectorAll('b')].map((e) => e.textContent)")
    return [float(x.replace("−", "-")) for x in shown]


def chance(b: Browser, side: int) -> list[int]:
    """The chance to stop: now, or [before, now], in %."""
    return [int(x) for x in re.findall(r"\d+", text(b, "chance", side))]


def act(b: Browser, code: str) -> None:
    """Something happens in the page, and all that follows from it."""
    b.js(f"{code}; 0")
    b.wait(CALM)


def press(b: Browser, key: str, side: int = LEFT) -> None:
    act(b, f"columns[{side}].part('pushes').querySelector('[data-key=\"{key}\"]').click()")


def choose(b: Browser, side: int, value: str) -> None:
    act(b, f"""(() => {{ const s = document.querySelectorAll('.pick select')[{side}];
        s.value = '{value}'; s.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()""")


def test_it_starts_by_itself_unless_one_acts_or_little_should_move(b, file):
    opened(b, file, calm=False)
    b.wait("document.querySelector('#soon').innerText.includes('starts by itself')")
    assert chance(b, LEFT) == chance(b, RIGHT)
    b.wait("columns[0].running && columns[1].running")
    b.wait(CALM)
    assert "After 4 steps" in text(b, "says", LEFT)
    opened(b, file, calm=False)
    b.key("Tab")
    assert b.text("#soon") == "" and b.js("left") == 0
    opened(b, file)
    assert b.text("#soon") == "" and b.js("left") == 0, "reduced motion"


def test_four_steps_teach_one_column_to_stop_and_not_the_other_until_weights_are_constants(b, file):
    opened(b, file)
    assert bars(b, LEFT) == [1.0] * 5 and bars(b, RIGHT)[-1] < 0 < bars(b, RIGHT)[0]
    before = chance(b, LEFT)
    b.click("#teach")
    b.wait("columns[0].running")
    b.wait(CALM)
    for side in (LEFT, RIGHT):
        said = b.js(f"columns[{side}].said.filter((id) => id !== config.end)"
                    ".map((id) => pieces[id]).join('').trim()")
        score = tasks.score(b.text("#question"), said)
        assert f"(score {score:.2f})" in text(b, "says", side), "the exact score of what it says"
    assert "0 → 8 of 8" in text(b, "count", LEFT) and "0 → 0 of 8" in text(b, "count", RIGHT)
    left, right = chance(b, LEFT), chance(b, RIGHT)
    assert left[0] == right[0] == before[0] and right[1] < right[0] < left[1]
    why = text(b, "why", RIGHT)
    assert "fell from" in why and "through the weights" in why and "IFT" in b.heard()
    act(b, "document.querySelector('[data-act=constants]').click()")
    assert "0 → 8 of 8" in text(b, "count", RIGHT), "taught again, by itself"
    assert "After 4 steps" in text(b, "says", RIGHT) and min(bars(b, RIGHT)) > 0
    assert b.js("location.hash") == "#l=sft&r=ift"
    b.click("#again")
    b.wait(CALM)
    assert bars(b, LEFT) == [1.0] * 5 and chance(b, LEFT) == before


def test_no_cause_is_named_where_the_figures_do_not_show_it(b, file):
    opened(b, file)
    rises = "{then: 0.4, now: 0.5}"
    words = b.js(f"WHY.weighed({{chance: {rises}, last: {{push: -0.3, direct: 0.2}}}})")
    assert "rose" in words and "through" not in words
    words = b.js("WHY.weighed({chance: {then: .4, now: .3}, last: {push: 0.3, direct: 0.2}})")
    assert "fell" in words and "through" not in words
    assert "score 0.80" in b.js("roleName({role: 'rejected', score: 0.8, tokens: [0]}, 1)")


def test_an_address_keeps_objectives_dials_question_and_edits(b, file):
    opened(b, file, "#l=dpo&l.beta=0.5&r=orpo&r.lr=0.0001&q=2")
    assert bars(b, LEFT) == pytest.approx([1.5] * 6) \
        and bars(b, LEFT, 1) == pytest.approx([-1.5] * 5), "beta / 2 x 6 tokens"
    press(b, "0.1"), press(b, "drop")
    link = b.js("location.hash")
    shown = text(b, "pushes", LEFT)
    opened(b, file, link)
    assert text(b, "pushes", LEFT).split("drop")[0][:40] == shown[:40] and len(bars(b, LEFT)) == 5
    assert "grey" in b.text("#question")
    assert b.js("['l-beta', 'r-lr'].map((name) => document.querySelector(`#dial-${name}`).value)") \
        == ["0.5", "0.0001"]
    opened(b, file, "#l=<b>&r=7&q=-1&a=9999&w=1.x&l.beta=7&r.lr=9&s=%%")
    assert bars(b, LEFT) == [1.0] * 5, "nonsense is left out"


def test_the_teacher_is_the_model_of_the_other_column(b, file):
    opened(b, file, "#l=sft&r=distill")
    assert max(map(abs, bars(b, RIGHT))) > 0.1, "nobody has learnt yet: SFT teaches for 4 steps"
    act(b, "columns[0].teach(1, columns[1])")
    act(b, "columns[1].teach(1, columns[0])")
    assert "its teacher (SFT, steps: 1)" in text(b, "why", RIGHT)


def test_a_rollout_is_kept_and_five_forms_part_after_a_step(b, file):
    opened(b, file)
    act(b, "document.querySelector('#inspect').open = true")
    b.wait("rollouts.roles")
    ratios = "rollouts.roles.flatMap((one) => one.logp.map((x, t) => Math.abs(x - one.old[t])))"
    assert b.js(f"Math.max(...{ratios})") < 1e-5, "the model wrote them itself"
    for _ in range(2):
        act(b, "document.querySelector('#rollouts [data-key=step]').click()")
    assert b.js(f"Math.max(...{ratios})") > 0.1
    act(b, "document.querySelector('#rollouts [data-key=\"t0.0\"]').click()")
    told = set()
    for form in ("grpo", "dapo", "dr_grpo", "gspo", "cispo"):
        act(b, f"document.querySelector('#rollouts [data-key=\"form:{form}\"]').click()")
        told.add(b.text(".told"))
    assert len(told) == 5 and all("Ratio ρ" in words and "Push" in words for words in told)


def test_four_answers_of_its_own(b, file):
    opened(b, file, "#l=rloo&r=sft")
    before = text(b, "pushes", LEFT)
    assert len(re.findall(r"score \d\.\d\d", before)) == 4
    press(b, "draw")
    assert text(b, "pushes", LEFT) != before and "s=1" in b.js("location.hash")


def test_everything_by_keyboard(b, file):
    opened(b, file)
    for key in ("choose", "constants", "0.2", "drop"):
        b.tab_to(key)
        b.key(" " if key == "constants" else "Enter" if key != "choose" else "ArrowDown")
        b.wait(CALM)
        assert b.focus() != "BODY"
    assert len(bars(b, LEFT)) == 4 and "r=ift" in b.js("location.hash")


def test_nothing_moves_while_it_learns(b, file):
    for width, height in ((1280, 800), (390, 844)):
        opened(b, file, width=width, height=height)
        b.js("""window.shift = 0; new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.shift += entry.value;
        }).observe({ type: "layout-shift", buffered: true }); 0""")
        place = b.js("$('teach').getBoundingClientRect().x")
        act(b, "teach()")
        assert b.js("window.shift") < 0.05 and b.js("$('teach').getBoundingClientRect().x") == place


def test_every_objective_draws_its_bars(b, file):
    opened(b, file)
    for name in OBJECTIVES:
        choose(b, RIGHT, name)
        assert bars(b, RIGHT) and f"r={name}" in b.js("location.hash") and not b.errors, name
