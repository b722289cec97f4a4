// The whole page: which scene is shown, what is announced, and what mouse, keys and fingers do.
const source = (name) => {
  const { paper, lesson } = DATA.sources[name];
  return `<span class="small">(<a href="${paper}">paper</a>${lesson ? `, <a href="${lesson}">lesson</a>` : ""})</span>`;
};
const SCENES = [                                            // name, the one sentence, what draws it
  ["draw it", "Draw the best way over the ice, then a worse way that still arrives.", drawScene],
  ["who gets touched", "One step of training: which cells will change?", touchScene],
  ["the ghost", "IFT stamps the demonstrator's arrow where the student would have gone, too: is it right there?",
    ghostScene],
  ["the unfair loser", "DPO blames every move of the worse way: does that bring its student nearer to the best?",
    loserScene],
  ["the drop test", "Drop the trained students anywhere: who finds the way?", dropScene],
  ["the training", "All four learn at once: play, scrub, turn the dials.", trainScene],
  ["the verdict", "Your score, and where the paper's order holds.", verdictScene],
];

const show = (id, html) => Common.show($(id), html);
function render() {
  computeLake();
  const now = state.scene, [, asked, draws] = SCENES[now - 1], { body, actions, title = asked } = draws();
  const lost = document.activeElement !== document.body && document.activeElement;
  show("stage", `<h1 tabindex="-1" id="title">${title}</h1>${body}`);
  show("actions", actions.join(""));
  show("dots", SCENES.map(([name], i) => `<button type="button" data-act="scene:${i + 1}" data-key="dot${i + 1}"
    aria-label="scene ${i + 1}: ${name}" title="${name}" class="${i + 1 < now ? "done" : ""}"
    ${i + 1 === now ? 'aria-current="step"' : ""}></button>`).join(""));
  $("stage").dataset.scene = now;
  $("back").disabled = now === 1, $("next").disabled = now === SCENES.length;
  splash = "";
  animate();
  if (lost && (!lost.isConnected || lost.disabled)) refocus(lost.dataset.key);
}
const firstCell = () => document.querySelector('[role="gridcell"][tabindex="0"]');
const focusOn = (element) => element.focus({ preventScroll: true });
function refocus(key) {                                     // what had the focus is gone: its like, or the next best
  const like = key && document.querySelector(`[data-key="${key}"]:not(:disabled)`);
  const main = document.querySelector("#actions button:not(:disabled)"), inGrid = /^cell/.test(key || "");
  focusOn(like || (inGrid && firstCell()) || main || $("title"));
}

// ---- what is announced: every text of class "live" that has changed ----------------------------------------------
const liveText = () => [...document.querySelectorAll("#stage .live")].map((p) => p.textContent).join(" ")
  .replace(/\s+/g, " ").trim();
function turn(to) {
  state.scene = clamp(to, 1, SCENES.length), trail = [], notice = "", making = null;
  clearInterval(playing), playing = 0;
  keep(true), render(), scrollTo(0, 0);
  focusOn($("title"));
  Common.tell(`Scene ${state.scene} of ${SCENES.length}. ${SCENES[state.scene - 1][1]}`);
}
function act(what) {
  const [name, argument] = what.split(":"), before = liveText();
  ACTS[name](argument);
  if (name === "turn" || name === "scene") return;
  if (name !== "play") keep(false);
  render();
  follow(name);
  const after = liveText();
  if (after !== before) Common.tell(after);
}
function follow(name) {                                     // a walker's focus goes with the walker
  const cell = document.activeElement.closest && document.activeElement.closest('[role="gridcell"]');
  if (cell && firstCell() && (name === "go" || name === "undo")) focusOn(firstCell());
}
Object.assign(ACTS, {
  turn: (by) => turn(state.scene + +by), scene: (n) => turn(+n),
});
// ---- keys --------------------------------------------------------------------------------------------------------
const ARROWS = ["ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp"];
function keyInGrid(cell, key) {                             // true: it was for the lake
  const move = ARROWS.indexOf(key), s = +cell.dataset.key.slice(4);
  if (move >= 0 && drawing()) act(`go:${Lake.go(map, standing(), move)}`);
  else if (move >= 0) walkFocus(cell, s, move);
  else if (key === "Enter" || key === " ") cell.dataset.act && act(cell.dataset.act);
  else if (key === "Backspace" && drawing()) act("undo");
  else return false;
  return true;
}
function walkFocus(cell, s, move) {                         // over holes, too: their labels say that they are holes
  const on = making ? Lake.lake(making.rows) : map, [dy, dx] = Lake.MOVES[move];
  const y = clamp(Math.floor(s / on.cols) + dy, 0, on.rows - 1), x = clamp((s % on.cols) + dx, 0, on.cols - 1);
  const next = document.querySelector(`[data-key="cell${y * on.cols + x}"]`);
  cell.setAttribute("tabindex", -1), next.setAttribute("tabindex", 0), focusOn(next);
  if (making) making.at = y * on.cols + x;
}
function keyElsewhere(target, key) {
  const move = ARROWS.indexOf(key), main = $("primary");
  if (target.closest("input, select, summary, a")) return false;       // these know what to do with a key
  if (move >= 0 && drawing()) act(`go:${Lake.go(map, standing(), move)}`);
  else if (key === "ArrowLeft" || key === "ArrowRight") turn(state.scene + move - 1);
  else if (key === "Backspace" && drawing()) act("undo");
  else if (key === " " && target.tagName !== "BUTTON" && main) act(main.dataset.act);
  else return false;
  return true;
}
document.addEventListener("keydown", (event) => {
  const { key, target } = event, cell = target.closest('[role="gridcell"]');
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (cell ? keyInGrid(cell, key) : keyElsewhere(target, key)) event.preventDefault();
});
document.addEventListener("input", (event) => {
  const { id, value } = event.target;
  state[id] = TRIED[id] ? TRIED[id][+value] : +value;
  render();
});
document.addEventListener("change", () => { keep(false), Common.tell(liveText()); });   // a slider was let go

// ---- mouse and fingers: a press acts at once on a lake that is drawn on, so that a drag goes on from it -------------
let dragging = null;                                        // the cell under a finger that is down
function under(event) {
  const box = document.querySelector("svg.lake").getBoundingClientRect(), on = making ? Lake.lake(making.rows) : map;
  const x = Math.floor((event.clientX - box.x) / box.width * on.cols);
  const y = Math.floor((event.clientY - box.y) / box.height * on.rows);
  return x >= 0 && y >= 0 && x < on.cols && y < on.rows ? y * on.cols + x : -1;
}
function drag(s) {                                          // cell by cell, as far as the way to it is straight
  if (s < 0 || s === dragging) return;
  dragging = s;
  if (making) return act(`set:${s}`);
  const row = (cell) => Math.floor(cell / map.cols), column = (cell) => cell % map.cols;
  for (let at = standing(), n = 0; at !== s && drawing() && n < 20; n++) {
    const [down, right] = [Math.sign(row(s) - row(at)), Math.sign(column(s) - column(at))];
    const move = Lake.MOVES.findIndex(([dy, dx]) => dy === down && dx === right);
    if (move < 0) return;
    at = Lake.go(map, at, move), act(`go:${at}`);
    if (standing() !== at) return;                          // a hole, or the end
  }
}
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("[data-draw], [data-make]")) return;
  $("stage").setPointerCapture(event.pointerId);
  dragging = null, drag(under(event));
});
document.addEventListener("pointermove", (event) => { if (dragging !== null) drag(under(event)); });
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { dragging = null; });
document.addEventListener("click", (event) => {
  const on = event.target.closest("[data-act]"), drawn = event.target.closest("[data-draw], [data-make]");
  if (on && !(drawn && event.detail)) act(on.dataset.act);  // detail 0: a screen reader's press, without a pointer
});

addEventListener("popstate", () => { state = load(location.hash), trail = [], making = null, render(); });
let state = load(location.hash || Common.recall(PLACE));
Common.theme($("theme"));
render();
