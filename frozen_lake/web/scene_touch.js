// Scene 2: which cells does one step of training change?
const FULL = {
  sft: "supervised fine-tuning", ift: "intuitive fine-tuning", dpo: "direct preference optimization",
  orpo: "odds ratio preference optimization",
};
const ABOUT = {
  sft: "makes every move of the best way likelier.",
  ift: "does that too, but it reads each cell mixed with the one where the <b>student's own</b> arrow would have led.",
  dpo: `widens the gap between the two ways, <b>each taken as a whole</b>: the best way gains on the worse one, but
    need not become likelier itself.`,
  orpo: "imitates the best way, and lowers the odds of the worse one.",
};
const tint = (name) => (s) => (!push(name)[s].length ? "" : push(name)[s].some(([, g]) => g > 0) ? "more" : "less");
const pushes = (name) => (s) => push(name)[s].map(([a, g], _, all) => {
  const [dy, dx] = Lake.MOVES[a].map((v) => v * (all.length > 1 ? 22 : 0)), weight = 0.7 + 0.3 * Math.abs(g);
  return `<g transform="translate(${dx},${dy})">
    ${arrow(a, g > 0 ? "up" : "down", (all.length > 1 ? 0.64 : 1) * weight, g > 0 ? "+" : "−")}</g>`;
}).join("");
const pushed = (name) => (s) => push(name)[s].map(([a, g]) => `${NAMES[a]} ${g > 0 ? "likelier" : "less likely"}`);
const changes = (name) => lake({
  cls: tint(name), inside: pushes(name), tell: pushed(name), label: `${upper(name)}: what one step changes`,
});
const four = (shown) => `<div class="four">${METHODS.map((name, i) => `<figure><figcaption>${method(name)}
  <span>${i < shown ? `${touched(name).length}<span class="wide"> cells</span>` : "&nbsp;"}</span></figcaption>
  ${i < shown ? changes(name) : '<div class="empty" aria-hidden="true">?</div>'}</figure>`).join("")}</div>`;

function touchScene() {
  const k = state.seen >> 1, shown = state.seen % 2, name = METHODS[k];
  if (state.seen === 8) return allTouched();
  const frame = (s) => (state.picks[k].includes(s) ? " picked" : "");
  const picture = shown ? lake({ label: `${upper(name)}: what one step changes`, cls: (s) => tint(name)(s) + frame(s),
    inside: pushes(name), tell: (s) => [pushed(name)(s), frame(s) && "your guess"].flat() })
    : lake({ label: "choose the cells that will change", under: both(), cls: frame, inside: own(firstArrows),
      act: (s) => (map.live.includes(s) ? `pick:${s}` : ""),
      tell: (s) => [frame(s) && "chosen", map.live.includes(s) ? `student goes ${NAMES[firstArrows[s]]}` : "",
        ...alongWays(s)] });
  const panel = shown ? guessed(k) : [
    live(state.picks[k].length ? `${plural(state.picks[k].length, "cell")} chosen.`
      : "Choose the cells that will change."),
    say(`${legend} &nbsp; <span class="own" aria-hidden="true">➜</span> the student's likeliest moves now`, "small")];
  const next = k < 3 ? `Next: ${upper(METHODS[k + 1])}` : "All four";
  return { body: scene(picture, say(`${method(name)} <span class="small">${FULL[name]}</span>`, "big"),
    say(`${upper(name)} ${ABOUT[name]} ${source(name)}`), ...panel, four(k + shown)),
  actions: [primary("more", shown ? next : "Reveal")] };
}
function guessed(k) {
  const truth = touched(METHODS[k]), { hits, misses } = touchScore(k);
  return [live(`${hits} of ${truth.length} found, ${misses} wrong.`, "big"),
    say(`${signs} &nbsp; framed: your guess`, "small")];
}
function touchScore(k) {
  const truth = touched(METHODS[k]), hits = state.picks[k].filter((s) => truth.includes(s)).length;
  return { hits, misses: state.picks[k].length - hits, of: truth.length };
}
function allTouched() {
  const [sft, ift, dpo] = METHODS.map(touched), extra = ift.filter((s) => !sft.includes(s)).length;
  const shared = Lake.blame(map, gold, pair("own").loser).filter((x) => x === "cancels").length;
  const alone = shared ? `leaves ${plural(shared, "move")} alone that both ways share: + and − cancel.`
    : `touches ${plural(dpo.length, "cell")}.`;
  return { body: `${four(4)}<div class="panel">${live(`${signs} &nbsp; <b>SFT</b> stays on its way. <b>IFT</b>
    goes on to ${plural(extra, "cell")} where only the student would be. <b>DPO</b> ${alone}`)}
    ${takeaway(`imitation touches only cells that were shown; IFT adds cells where the student's guess leads; pairs
    touch both ways. ${wordsFor("ift")}`)}</div>`,
  actions: [primary("turn:1", "Look at IFT's cells"), button("again2", "Guess again")] };
}
Object.assign(ACTS, {
  pick: (s) => {
    const picks = state.picks[state.seen >> 1], i = picks.indexOf(+s);
    i < 0 ? picks.push(+s) : picks.splice(i, 1);
  },
  more: () => { state.seen++; },
  again2: () => { state.seen = 0, state.picks = [[], [], [], []]; },
});
