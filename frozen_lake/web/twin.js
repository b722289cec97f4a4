// The token twin: the same step on one sentence of NanoWorld, computed when the page was made (twin.py).
"use strict";
const TWIN = DATA.twin, quote = (words) => `“${words.filter((w) => w !== TWIN.end).join(" ")}”`;
const shownWord = (word) => (word === TWIN.end ? '<span class="soft">(end)</span>' : word);
const words = (list, more = () => "") => `<ol class="words">${list.map((word, i) =>
  `<li><span>${shownWord(word)}</span>${more(i)}</li>`).join("")}</ol>`;
const bars = (list, pushes, under) => Common.strip(pushes, { under, word: (i) => shownWord(list[i]),
  label: list.map((word, i) => `${word} ${Common.signed(pushes[i])}`).join(", ") });
const strip = (name) => Object.entries(TWIN.pushes[name]).map(([role, w]) => `<div class="strip">
  <span>${role === "rejected" ? '<span class="soft">and the worse answer</span>' : method(name)}</span>
  ${bars(TWIN[role === "rejected" ? "worse" : "best"], w)}</div>`).join("");

const TWINS = [
  () => `<p>Question: ${quote([TWIN.prompt])}</p><div class="strip"><span>Best way</span>${words(TWIN.best)}</div>
    <div class="strip"><span>Worse way</span>${words(TWIN.worse)}</div>
    <p class="small">Each word is a move. The cell it is made from is the question and the words before it.</p>`,
  () => {
    const shown = METHODS.slice(0, (state.seen + 1) >> 1);
    return `${shown.length ? shown.map(strip).join("") : words(TWIN.best, () => "<small>?</small>")}
      <p class="small">${signs}: how hard one step pushes each word (plain SFT: +1 everywhere),
        in the shipped base model.</p>`;
  },
  () => `<ol class="plain">${TWIN.ghosts.map((g) => `<li>After ${g.before.length ? quote(g.before) : "the question"}
    the base says “${shownWord(g.guess)}”, the demonstrator “${shownWord(g.truth)}”. IFT reads ${percent(1 - DATA.hp.lam)}
    “${shownWord(g.truth)}” and ${percent(DATA.hp.lam)} “${shownWord(g.guess)}”, and stamps “${shownWord(g.next)}” on it:
    after “${shownWord(g.guess)}” that is ${g.right ? "✓ right" : "✗ wrong"}.</li>`).join("")}</ol>
    ${TWIN.ghosts.length ? "" : "<p>The base guesses every word of this answer right: no ghost here.</p>"}`,
  () => {
    const part = (i) => `<small>${PARTS[TWIN.parts[i]][0]}</small>`;
    return `<div class="strip"><span>Worse answer</span>${
      state.bet ? bars(TWIN.worse, TWIN.pushes.dpo.rejected, part) : words(TWIN.worse, part)}</div>
    <p class="small">= stands in both answers after the same words, ✓ follows rightly on the word before it, ✗ does not.
    ${state.bet ? "The bars: how hard DPO pushes it." : ""}</p>`;
  },
  () => {
    const said = ({ text, score }) => `“${text}” <b>${score}</b>`;
    return table(`What each model says after ${TWIN.steps} steps, from the question, and when its first word is forced to
      be “${TWIN.forced}” (score of the exact grader, 1 is right)`, ["model", "from the start", "one word aside"],
    METHODS.map((name) => [method(name), said(TWIN.said[name].start), said(TWIN.said[name].aside)]), true);
  },
  () => {
    const { steps } = TWIN.curve, i = Math.round((frameNow() / lastFrame()) * (steps.length - 1));
    return table(`Chance of the whole answer after ${plural(steps[i], "step")} with the default learning rates, falling to 0`,
      ["model", `${quote(TWIN.best)}`, `${quote(TWIN.worse)}`], METHODS.map((name) => [method(name),
        ...["best", "worse"].map((way) => `${(100 * Math.exp(TWIN.curve[name][way][i])).toFixed(1)} %`)]), true);
  },
  () => `<p>With words nobody knows the best policy. There the answers are graded. Each claim says how many
    seeds and which base models it has, and what its interval must exclude.
    ${TWIN.claims ? ` <a href="${TWIN.claims}">All claims</a>` : ""}</p>`,
];
const twin = () => `<aside class="twin" aria-label="the same with words"><h2>The same with words</h2>
  ${TWINS[state.scene - 1]()}</aside>`;
