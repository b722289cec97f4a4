// The whole page: which scene is shown, what is announced, and what mouse, keys and fingers do.
const SCENES = [                                            // name, the one sentence, what draws it
  ["the ghost", "IFT stamps the demonstrator's arrow where the student would have gone, too: is it right there?",
    ghostScene],
  ["the estimate", "SFT scores each move from the demonstrator's cell: does it overestimate what its student can do?",
    estimateScene],
  ["the unfair loser", "DPO blames every move of the worse way: does that bring its student nearer to the best?",
    loserScene],
  ["the verdict", "Which method comes nearest to the best student: does the paper's order hold?", verdictScene],
];

const show = (id, html) => Common.show($(id), html);
function render() {
  const now = state.scene, [, asked, draws] = SCENES[now - 1], { body, actions } = draws();
  const lost = document.activeElement !== document.body && document.activeElement;
  show("stage", `<h1 tabindex="-1" id="title">${asked}</h1>${body}`);
  show("actions", actions.join(""));
  show("dots", SCENES.map(([name], i) => `<button type="button" data-act="scene:${i + 1}" data-key="dot${i + 1}"
    aria-label="scene ${i + 1}: ${name}" title="${name}" class="${i + 1 < now ? "done" : ""}"
    ${i + 1 === now ? 'aria-current="step"' : ""}></button>`).join(""));
  $("stage").dataset.scene = now;
  $("back").disabled = now === 1, $("next").disabled = now === SCENES.length;
  if (lost && (!lost.isConnected || lost.disabled)) refocus(lost.dataset.key);
}
const focusOn = (element) => element.focus({ preventScroll: true });
function refocus(key) {                                     // what had the focus is gone: its like, or the next best
  const like = key && document.querySelector(`[data-key="${key}"]:not(:disabled)`);
  focusOn(like || document.querySelector("#actions button:not(:disabled)") || $("title"));
}

// ---- what is announced: every text of class "live" that has changed ----------------------------------------------
const liveText = () => [...document.querySelectorAll("#stage .live")].map((p) => p.textContent).join(" ")
  .replace(/\s+/g, " ").trim();
function turn(to) {
  state.scene = clamp(to, 1, SCENES.length);
  keep(true), render(), scrollTo(0, 0);
  focusOn($("title"));
  Common.tell(`Scene ${state.scene} of ${SCENES.length}. ${SCENES[state.scene - 1][1]}`);
}
function act(what) {
  const [name, argument] = what.split(":"), before = liveText();
  ACTS[name](argument);
  if (name === "turn" || name === "scene") return;
  keep(false);
  render();
  const after = liveText();
  if (after !== before) Common.tell(after);
}
Object.assign(ACTS, {
  turn: (by) => turn(state.scene + +by), scene: (n) => turn(+n),
});
// ---- keys, mouse and fingers -------------------------------------------------------------------------------------
document.addEventListener("keydown", (event) => {
  const { key, target } = event, main = $("primary");
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, summary, a")) return;
  if (key === "ArrowLeft" || key === "ArrowRight") turn(state.scene + (key === "ArrowRight" ? 1 : -1));
  else if (key === " " && target.tagName !== "BUTTON" && main) act(main.dataset.act);
  else return;
  event.preventDefault();
});
document.addEventListener("input", (event) => {
  const { id, value } = event.target;
  state[id] = +value;
  render();
});
document.addEventListener("change", () => { keep(false), Common.tell(liveText()); });   // a slider was let go
document.addEventListener("click", ({ target }) => {
  const on = target.closest("[data-act]");
  if (on) act(on.dataset.act);
});
addEventListener("popstate", () => { state = load(location.hash), render(); });
let state = load(location.hash || Common.recall(PLACE));
Common.theme($("theme"));
render();
