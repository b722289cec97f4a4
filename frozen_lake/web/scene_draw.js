// Scene 1: draw the two ways, on this lake or on one of your own.
let trail = [], notice = "", splash = "";                   // what a link need not bring back
let making = null;                                          // a map in the making: { rows, at }
const drawing = () => state.scene === 1 && !making && !(state.best && state.worse);
const standing = () => (trail.length ? trail[trail.length - 1] : map.start);

function drawScene() {
  if (making) return makeScene();
  const at = standing(), near = drawing() ? Lake.MOVES.map((_, a) => Lake.go(map, at, a)).filter((s) => s !== at) : [];
  const under = (state.best && line(gold, "best")) + (state.worse && line(pair("own").loser, "worse"))
    + (trail.length ? line({ s: trail, end: at }, state.best ? "worse" : "best") : "");
  const picture = lake({
    under, over: drawing() ? put(at, '<circle class="me" r="25"/>') + splash : "", at,
    label: drawing() ? "the lake: arrow keys walk, Backspace takes a move back" : "the lake with both ways",
    cls: (s) => (near.includes(s) && map.kind[s] !== "H" ? "near" : ""),
    act: (s) => (drawing() ? `go:${s}` : ""), more: drawing() ? "data-draw" : "",
    tell: (s) => [s === at && drawing() ? "you are here" : "", ...drawn(s)],
  });
  const change = [button("undo", "Undo", trail.length || state.best ? "" : "disabled"),
    button("redraw", "Again", state.best || trail.length ? "" : "disabled"), button("make", "Own lake")];
  const about = say(`A model that talks walks, too: a <b>cell</b> is the text so far (its last token stands for it), a
    <b>move</b> is the next word, the <b>goal</b> is the end of a right answer.`);
  if (drawing()) return { body: scene(picture, about,
    live(state.best ? "Now draw a <b>worse</b> way that still arrives."
      : "First draw the <b>best</b> way, from S to the goal."),
    live(notice || `${plural(Math.max(0, trail.length - 1), "move")}, now in ${place(at)}.`, notice ? "say" : "small"),
    say(`Arrow keys, or drag a finger over the ice. ${legend}`, "small"), whichMap()),
  actions: [primary("ship", "Ready-made ways"), ...change] };
  return { body: scene(picture, about,
    live(`Two ways: <b>${gold.a.length}</b> moves and <b>${loserMoves("own").length}</b>.
      Four methods will teach them to a student who knows nothing yet.`), say(legend, "small"), whichMap(),
    takeaway("a demonstration is a list of cells with one move each; the methods differ in what they make of it.")),
  actions: [primary("turn:1", "Teach them"), ...change] };
}
const drawn = (s) => [...(state.best ? goes(gold, "best way", s) : []),
  ...(state.worse ? goes(pair("own").loser, "worse way", s) : []), trail.includes(s) ? "on your way" : ""];
const whichMap = () => (state.rows === DATA.rows && DATA.note ? say(DATA.note, "small") : "");

function undo() {                                           // one move back, also from a finished way
  notice = "";
  const last = state.worse ? "worse" : state.best && trail.length < 2 ? "best" : "";
  if (last) {
    const walked = Lake.walk(map, moves(state[last]));
    trail = walked.s, state[last] = "";
  } else trail.pop();
  if (trail.length < 2) trail = [];
}
function go(s) {
  const last = (text) => { notice = text, trail = []; };
  const at = standing(), a = Lake.MOVES.findIndex((_, k) => Lake.go(map, at, k) === s);
  if (!drawing() || s === at || a < 0) return;              // a wall, or not beside: nothing to draw
  notice = "", trail = [...(trail.length ? trail : [map.start]), s];
  if (map.kind[s] === "H") {
    splash = put(s, '<circle class="splash" r="20"/>');
    last("Splash: a hole. Back to the start.");
  } else if (s === map.goal) arrive(last);
  else if (map.far[s] === Infinity) last("From there no way leads to the goal. Back to the start.");
  else if (trail.length > LONGEST) last(`${LONGEST} moves are enough. Back to the start.`);
}
function arrive(last) {
  const way = trail.slice(1).map((to, i) => Lake.MOVES.findIndex((_, a) => Lake.go(map, trail[i], a) === to));
  const n = way.length, least = map.far[map.start];
  if (!state.best && n > least) last(`You arrive, in ${n} moves. The best way has ${least}. Again.`);
  else if (!state.best) state.best = letters(way), last(`The best way: ${n} moves.`);
  else if (n === least) last("That is a best way once more. Take a worse one.");
  else state.worse = letters(way), last("");
}

// ---- a lake of one's own -----------------------------------------------------------------------------------------
function makeScene() {
  const { rows } = making, on = Lake.lake(rows), wrong = Ways.wrong(rows);
  const picture = withMap(on, () => lake({ on, label: "your lake: arrow keys move, Enter turns ice and hole",
    at: making.at, act: (s) => `set:${s}`, more: "data-make" }));
  return { title: "Make a lake of your own.", body: scene(picture,
    say("Touch or drag over cells: ice becomes a hole, a hole becomes ice."),
    live(`${making.done || ""} ${wrong || `The best way has ${on.far[on.start]} moves.`}`),
    say(`Other sizes, another start or goal: rows of S, F, H and G in a file, then
      <code>python -m frozen_lake --map my.txt</code>`, "small")),
  actions: [wrong ? "" : primary("use", "Use this lake"), button("leave", "Cancel")] };
}
function withMap(on, draw) {                                // place and middle look at `map`
  const before = map;
  map = on;
  try { return draw(); } finally { map = before; }
}
function set(s) {
  const cells = [...making.rows.join("")], turned = { F: "H", H: "F" }[cells[s]];
  if (!turned) return;                                      // start and goal stay
  cells[s] = turned, making.at = s;
  making.rows = cells.join("").match(new RegExp(`.{${making.rows[0].length}}`, "g"));
  making.done = withMap(Lake.lake(making.rows), () => `${place(s)}: ${KIND[turned]}.`);
}
Object.assign(ACTS, {
  go: (s) => go(+s), undo,
  ship: () => { Object.assign(state, shipped), trail = [], notice = ""; },
  redraw: () => { state.best = state.worse = notice = "", trail = []; },
  make: () => { making = { rows: state.rows, at: map.start }; },
  set: (s) => set(+s), leave: () => { making = null; },
  use: () => {
    if (Ways.wrong(making.rows)) return;                    // what is wrong stands above
    const same = making.rows.join() === DATA.rows.join();
    state = fresh(same ? DATA.rows : making.rows), making = null, trail = [], notice = "";
  },
});
