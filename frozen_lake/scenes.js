// Five scenes of "commit, then see", and the verdict. `render` draws a scene from the state (draw.js) alone.
"use strict";
let trail = [], notice = "", splash = "", timer = 0, swiped = false;       // what a link need not bring back

// ---- 1: draw it ---------------------------------------------------------------------------------------------------
const drawing = () => state.scene === 1 && !(state.best && state.worse);
const standing = () => (trail.length ? trail[trail.length - 1] : map.start);
function draw() {
  const here = standing(), near = drawing() ? NAMES.map((_, a) => Lake.go(map, here, a)).filter((s) => s !== here) : [];
  const under = (state.best && line(gold, "gold")) + (state.worse && line(pair("own").loser, "worse"))
    + (trail.length ? line({ s: trail, end: here }, state.best ? "worse" : "gold") : "");
  const picture = lake({
    under, over: drawing() ? put(here, '<circle class="me" r="25"/>') + splash : "", label: "the lake, to draw on",
    cls: (s) => (near.includes(s) && map.kind[s] !== "H" ? "near" : ""),
    act: (s) => (near.includes(s) ? `go:${s}` : ""), more: drawing() ? "data-draw" : "",
  });
  if (!drawing()) {
    return scene(picture, say(`Two ways: <b>${BEST.length}</b> moves and <b>${loserMoves("own").length}</b>. Four
      methods will teach them to a student who knows nothing yet.`), say(legend, "small"),
      buttons(primary("turn:1", "Teach"), button("redraw", "Draw again")));
  }
  return scene(picture,
    say(state.best ? "Now a <b>worse</b> way that still arrives." : "First the <b>best</b> way, from S to the flag."),
    say(plural(Math.max(0, trail.length - 1), "move"), "big"),
    say(notice || "Arrow keys, or touch the next cell.", notice ? "say down" : "small"), say(legend, "small"),
    buttons(primary("ship", "Ready-made ways")));
}
function go(s) {
  const last = (text) => { notice = text, trail = []; };
  notice = "";
  if (s === standing()) return;                             // into a wall: nothing to draw
  trail = [...(trail.length ? trail : [map.start]), s];
  if (map.kind[s] === "H") {
    splash = put(s, '<circle class="splash" r="20"/>');
    last("Splash. Back to the start.");
  } else if (s === map.goal) {
    const drawn = trail.slice(1).map((to, i) => NAMES.findIndex((_, a) => Lake.go(map, trail[i], a) === to));
    const n = drawn.length, most = BEST.length;
    if (!state.best && n > most) last(`You arrive, in ${n} moves. The best way has ${most}. Again.`);
    else if (!state.best) state.best = letters(drawn), last("");
    else if (n === most) last("That is the best way once more. Take a worse one.");
    else memory.clear(), state.worse = letters(drawn), last("");
  } else if (trail.length > 40) last("40 moves are enough. Back to the start.");
}

// ---- 2: who gets touched? -----------------------------------------------------------------------------------------
const ABOUT = {
  sft: "makes every move of the best way likelier.",
  ift: "does that too, but it reads each cell mixed with the one where the <b>student's own</b> arrow would have led.",
  dpo: "makes the best way likelier and the worse way less likely, <b>each as a whole</b>.",
  orpo: "imitates the best way, and lowers the odds of the worse one.",
};
const tint = (name) => (s) => (!push(name)[s].length ? "" : push(name)[s].some(([, g]) => g > 0) ? "good" : "bad");
const pushes = (name) => (s) => push(name)[s].map(([a, g], _, all) => {
  const [dy, dx] = Lake.MOVES[a].map((v) => v * (all.length > 1 ? 22 : 0)), size = all.length > 1 ? 0.64 : 1;
  return `<g class="${g > 0 ? "up" : "down"}" transform="translate(${dx},${dy})" opacity="${0.6 + 0.4 * Math.abs(g)}">
    ${arrow(a, "", size, g > 0 ? "+" : "−")}</g>`;
}).join("");
const changes = (name) => lake({
  cls: tint(name), inside: pushes(name), label: `${upper(name)}: what one step changes`,
});
const four = (shown) => `<div class="four">${METHODS.map((name, i) => `<figure>
  <figcaption class="${name}"><span>${badge(name)} ${upper(name)}</span>
    <span>${i < shown ? `${touched(name).length}<span class="wide"> cells</span>` : "&nbsp;"}</span></figcaption>
  ${i < shown ? changes(name) : '<div class="empty">?</div>'}</figure>`).join("")}</div>`;

function touch() {
  const k = state.seen >> 1, shown = state.seen % 2, name = METHODS[k];
  if (state.seen === 8) {
    const [sft, ift, dpo] = METHODS.map(touched), extra = ift.filter((s) => !sft.includes(s)).length;
    const shared = Lake.blame(map, gold, pair("own").loser).filter((x) => x === "cancels").length;
    return `${four(4)}<div class="panel">${say(`${signs} &nbsp; <b>SFT</b> stays on its path. <b>IFT</b> goes on to
      ${plural(extra, "cell")} where only the student would be. <b>DPO</b> ${shared
      ? `leaves ${plural(shared, "move")} alone that both ways share: + and − cancel.`
      : `touches ${dpo.length} cells.`}`)}
      ${buttons(primary("turn:1", "Look at IFT's cells"), button("again2", "Guess again"))}</div>`;
  }
  const picks = state.picks[k], truth = touched(name), hits = picks.filter((s) => truth.includes(s)).length;
  const frame = (s) => (picks.includes(s) ? " picked" : "");
  const next = k < 3 ? `Next: ${upper(METHODS[k + 1])}` : "All four";
  const asked = lake({ cls: frame, inside: own(firstArrows), under: both(), label: "choose the cells that will change",
    act: (s) => (map.live.includes(s) ? `pick:${s}` : "") });
  return scene(shown ? lake({ cls: (s) => tint(name)(s) + frame(s), inside: pushes(name) }) : asked,
    say(`<span class="${name}">${badge(name)} ${upper(name)}</span>`, "big"), say(`${upper(name)} ${ABOUT[name]}`),
    ...(shown ? [say(`${hits} of ${truth.length} found, ${picks.length - hits} wrong`, "big appear"),
      say(`${signs} &nbsp; framed: your guess`, "small")]
      : [say(picks.length ? `${plural(picks.length, "cell")} chosen` : "Touch the cells that will change.", "say soft"),
        say(`${legend} &nbsp;&nbsp;<span class="own">➜</span> the student's arrows now`, "small")]),
    buttons(primary("more", shown ? next : "Reveal")), four(k + shown));
}

// ---- 3: the ghost -------------------------------------------------------------------------------------------------
const isRight = (s, i) => good[s].includes(gold.a[i]);      // is the demonstrator's move i a best one in cell s?
function spirit(i, at, known) {
  const [mark, cls] = isRight(at, i) ? ["✓", "up"] : ["✗", "down"], [x, y] = middle(at);
  return `<path class="link" d="M${middle(gold.s[i - 1])}L${x} ${y}"/>` + put(at, `<circle r="39"/>
    ${arrow(gold.a[i], known ? `class="${cls}"` : "", 0.82)}
    ${known ? `<text class="mark ${cls}" x="31" y="-31">${mark}</text>` : ""}`, 'class="who ghost"');
}
function ghost() {
  const list = different(frames[0].own), asked = list[state.judged.length], done = asked === undefined;
  const time = done ? clamp(state.time, 0, frames.length - 1) : 0, now = frames[time], left = different(now.own);
  const solid = done ? ""
    : put(gold.s[asked], `<circle r="39"/>${arrow(gold.a[asked], "", 0.82)}`, 'class="who solid"');
  const picture = lake({
    under: line(gold, "gold"), more: `style="--lam:${DATA.hp.lam}"`, label: "the ghosts",
    over: solid + (done ? left : [asked]).map((i) => spirit(i, now.own[i], done)).join(""),
    inside: (s) => (done && !left.some((i) => now.own[i] === s) ? own(now.arrows)(s) : ""),
  });
  if (!done) {
    const from = gold.s[asked - 1], wall = now.own[asked] === from ? " (a wall: it stays)" : "";
    return scene(picture, say(`The demonstrator stands on the full circle and goes <b>${NAMES[gold.a[asked]]}</b>.
      One move earlier the student would have gone <b>${NAMES[firstArrows[from]]}</b>${wall}: there stands its
      <b>ghost</b>, mixed in at ${percent(DATA.hp.lam)}, with the same arrow stamped on it.`),
      say("Is that arrow right where the ghost stands?", "big"),
      say(`ghost ${state.judged.length + 1} of ${list.length} &nbsp;
        ${[...state.judged].map((c) => (c === "y" ? "✓" : "✗")).join(" ")}`, "small"),
      buttons(...Object.entries({ y: "✓ &nbsp;right", n: "✗ &nbsp;wrong" })
        .map(([c, text]) => button(`judge:${c}`, text, 'class="primary"'))));
  }
  const truth = list.map((i) => isRight(frames[0].own[i], i)), n = truth.filter(Boolean).length;
  const hits = truth.filter((right, k) => right === (state.judged[k] === "y")).length, all = DATA.ghosts;
  return scene(picture,
    say(`You judged <b>${hits} of ${list.length}</b> as value iteration does: <b class="up">✓ ${n} right</b>,
      <b class="down">✗ ${list.length - n} wrong</b>. Of all ${all.length} ghosts that could stand on this ice,
      ${all.filter((g) => g.right).length} would get a right arrow.`),
    `<label for="time" class="say">Now train: <b>${plural(time, "update")}</b> of IFT</label>
      <input id="time" type="range" min="0" max="${frames.length - 1}" value="${time}" data-key="time">`,
    say(`still different: ${left.length} of ${gold.s.length}`, "big"),
    say(left.length ? "Slide on: where the guess turns right, the ghost steps into the true cell."
      : "<b>From here on IFT is SFT with weights.</b>"),
    buttons(primary("turn:1", "And DPO?"), button("again3", "Judge again")));
}

// ---- 4: the unfair loser ------------------------------------------------------------------------------------------
const PARTS = { cancels: ["own", "="], right: ["down", "✗"], wrong: ["up", "✓"] };
const measured = (table) => ({
  distance: Lake.distance(map, table.map(Lake.softmax)), arrives: Lake.arrives(map, table) / N,
});
function unfair() {
  if (!state.bet) {
    return scene(lake({ under: both(), inside: own(firstArrows) }),
      say(`DPO sees one pair, the best way and the worse way, and makes ${DATA.hp.steps} updates.`),
      say(legend, "small"),
      say("Where does its student end, seen from the best policy?", "big"),
      buttons(...Object.entries(BETS).map(([k, text]) => button(`bet:${k}`, text))));
  }
  const { foe } = state, { loser } = pair(foe), parts = Lake.blame(map, gold, loser), other = net(foe);
  const count = (part) => parts.filter((x) => x === part).length, last = (s) => loser.s.lastIndexOf(s);
  const picture = lake({
    cls: (s) => ({ wrong: "good", right: "bad" }[parts[last(s)]] || ""),
    inside: (s) => (last(s) < 0 ? "" : arrow(loser.a[last(s)], `class="${PARTS[parts[last(s)]][0]}"`, 0.95,
      parts[last(s)] === "cancels" ? "=" : "−")),
  });
  const chip = (part, i) => `<li class="${part} appear" style="--i:${i}">${GLYPH[loser.a[i]]}
    <small>${PARTS[part][1]}</small></li>`;
  const before = measured(start), after = measured(trained("dpo", foe)), gap = after.distance - before.distance;
  const cells = (x) => `<td class="n"><b>${num(x.distance)}</b><td class="n">${percent(x.arrives)}`;
  const row = (label, table, nets) => `<tr><td>${label}${cells(table)}${other ? cells(nets) : ""}</tr>`;
  const head = (a, b) => `<tr><th>${a}${other ? b : ""}</tr>`, wide = '<th class="n" colspan="2">';
  const two = '<th class="n">distance<th class="n">arrives', ended = gap < -0.01 ? "c" : gap > 0.01 ? "f" : "s";
  return scene(picture, `<ol class="moves">${parts.map(chip).join("")}</ol>`,
    say(`Of ${plural(parts.length, "move")} <span class="soft">= ${count("cancels")} cancel</span>, <b class="down">✗
      ${count("right")} are best in their own cell, yet pushed down</b>, <b class="up">✓ ${count("wrong")} really
      wrong</b>.`), say(`You said “${BETS[state.bet]}”; this student ended <b>${BETS[ended]}</b>.`),
    `<table>${head(`${wide}this table`, `${wide}${other && DATA.net.seeds} networks`)}${head(two, two)}
      ${row("before", before, other && DATA.net.start)}${row(`${badge("dpo")} DPO`, after, other && other.dpo)}
      ${row(`${badge("sft")} SFT`, measured(trained("sft", foe)), other && other.sft)}</table>`,
    buttons('<span class="soft">Swap the loser:</span>',
      ...Object.entries(FOES).map(([k, text]) => choice(`foe:${k}`, text(), k === foe))),
    buttons(primary("turn:1", "Drop them"), button("again4", "Bet again")));
}

// ---- 5: the drop test ---------------------------------------------------------------------------------------------
const ENDS = { goal: "✓ arrives", hole: "✗ falls in", loop: "✗ in circles" };
const CORNER = [[-21, -21], [21, -21], [-21, 21], [21, 21]];                 // four agents in one cell
const aside = map.live.find((s) => !gold.s.includes(s));
const brain = () => (net("own") ? state.brain : "table");
const walks = () => METHODS.map((name) => Lake.drop(map, policy(name, "own", brain()), state.from));
function dropTest() {
  const { from } = state, dropped = from >= 0, ends = dropped ? walks().map((r) => r.end) : [];
  const agents = METHODS.map((name) => `<g class="agent ${name}" id="agent-${name}">${SHAPE[name]}</g>`).join("");
  const picture = lake({
    act: (s) => (map.live.includes(s) ? `drop:${s}` : ""), cls: (s) => (s === from ? "picked" : ""),
    under: line(gold, "gold"), over: dropped ? agents : "", label: "choose a cell to drop four students there",
  });
  const rows = METHODS.map((name, i) => {
    const p = policy(name, "own", brain()), n = Lake.arrives(map, p);
    return `<tr><td>${badge(name)} <b>${upper(name)}</b><td class="${ends[i] === "goal" ? "up" : "down"}">
      ${ENDS[ends[i]] || ""}<td class="n"><b>${n}</b> of ${N}<td class="${name} share"><div class="bar">
      <i style="width:${(100 * n) / N}%"></i></div><td class="n">${num(Lake.distance(map, p))}</tr>`;
  });
  const text = !dropped ? "Touch any cell of ice: four students start there and follow their likeliest move."
    : gold.s.includes(from) ? "On the demonstrator's path. Now try one cell aside."
      : "Beside the path nobody showed what to do.";
  return scene(picture, say(text), `<table><tr><th><th>${dropped ? "from here" : ""}<th class="n">arrives from
    <th class="share"><th class="n">distance</tr>${rows.join("")}</table>`,
    say("Arrives from: of so many cells. Distance: to the nearest best policy, mean square. They need not agree.",
      "small"),
    net("own") ? buttons('<span class="soft">The students are</span>',
      ...Object.entries({ table: "tables", net: "networks" })
        .map(([b, text]) => choice(`brain:${b}`, text, b === brain()))) : "",
    buttons(dropped ? primary("turn:1", "The verdict") : primary(`drop:${aside}`, "Drop them one cell aside")));
}
function animate() {                                        // the four walk, one cell a beat
  clearTimeout(timer);
  if (state.scene !== 5 || state.from < 0) return;
  const runs = walks(), longest = Math.max(...runs.map((r) => r.s.length));
  const beat = (k) => {
    runs.forEach((r, i) => {
      const [x, y] = middle(k < r.s.length ? r.s[k] : r.last).map((v, j) => v + CORNER[i][j]);
      const sunk = k >= r.s.length && r.end === "hole", agent = $(`agent-${METHODS[i]}`);
      agent.style.transform = `translate(${x}px, ${y}px) scale(${sunk ? 0.9 : 1.6})`;
      agent.classList.toggle("sunk", sunk);
    });
    if (k < longest) timer = setTimeout(beat, 330, k + 1);
  };
  beat(matchMedia("(prefers-reduced-motion: reduce)").matches ? longest : 0);
}

// ---- 6: the verdict -----------------------------------------------------------------------------------------------
const SIGN = { holds: ["up", "✓"], "does not hold": ["down", "✗"], undecided: ["soft", "?"] };
const look = (text) => SIGN[Object.keys(SIGN).find((k) => text.toLowerCase().startsWith(k)) || "undecided"];
function matrix({ seeds, settings, verdict, counts }) {
  const gap = (c) => `<td class="n ${look(c.verdict)[0]}" title="${c.verdict}">${c.mean > 0 ? "+" : "−"}${
    num(Math.abs(c.mean))} ± ${num(c.half)} <b>${look(c.verdict)[1]}</b>`;
  const row = (r) => `<tr><td>${r.name}<td class="${look(r.verdict)[0]}"><b>${look(r.verdict)[1]}</b> ${r.verdict}
    <td class="n">${percent(r.share)} of ${r.maps}${r.contrasts.map(gap).join("")}</tr>`;
  const head = settings[0].contrasts.map((c) => `<th class="n">${c.name.replace("-", "−")}`).join("");
  return say(`On random lakes, ${plural(seeds, "seed")} each: in the base setting it
    <b class="${look(verdict)[0]}">${verdict}</b>. Over ${settings.length} settings it holds in
    ${counts.holds}, does not hold in ${counts["does not hold"]}, is undecided in
    ${counts.undecided}.`) + `<div class="matrix" tabindex="0"><table><tr><th>one thing changed
    <th>the paper's order<th class="n">lakes with it${head}</tr>${settings.map(row).join("")}</table></div>
    ${say("Differences of distances, mean over lakes with 95 % interval; the paper's order makes all three positive.",
    "small")}`;
}
function verdict() {
  const again = button("fresh", "Start again", 'class="primary"');         // not on the space bar: it would undo all
  const here = METHODS.map((name) => [name, Lake.distance(map, policy(name, "own", "table"))]);
  here.sort((a, b) => a[1] - b[1]);
  const saw = here.map(([name, d], i) => `${!i ? "" : d - here[i - 1][1] < 0.003 ? " ≈ " : " &lt; "}
    <span class="nowrap ${name}">${badge(name)} <b>${upper(name)}</b> ${num(d)}</span>`).join("");
  return `<div class="panel">${say("The paper, by distance to the best policy: <b>DPO &lt; IFT &lt; ORPO, SFT</b>.")}
    ${say(`You saw, on one lake: ${saw}`)}${DATA.study ? matrix(DATA.study)
    : say("One lake and one student are no evidence. The study over many lakes has not been run yet; this runs it:")
      + `<p><code>${DATA.command}</code></p>`}${buttons(again)}</div>`;
}

// ---- the whole page -----------------------------------------------------------------------------------------------
const SCENES = [                                            // name, the one sentence, what draws it, a hint
  ["draw it", "Draw the best way over the ice, then a worse way that still arrives.", draw, "Space: ready-made ways"],
  ["who gets touched", "One step of training: which cells will change?", touch, "Space: reveal"],
  ["the ghost", "IFT stamps the demonstrator's arrow where the student would have gone, too: is it right there?", ghost,
    "Y right, N wrong"],
  ["the unfair loser", "DPO blames every move of the worse way: does that bring its student nearer to the best?",
    unfair, ""],
  ["the drop test", "Drop the trained students anywhere: who finds the way?", dropTest, "Space: go on"],
  ["the verdict", "Where does the paper's order hold?", verdict, ""],
];
function render() {
  const key = document.activeElement && document.activeElement.dataset.key, now = state.scene;
  const [, title, show, hint] = SCENES[now - 1];
  $("stage").innerHTML = `<h1>${title}</h1>${show()}`;
  $("stage").dataset.scene = now;
  $("dots").innerHTML = SCENES.map(([name], i) => `<button type="button" data-act="scene:${i + 1}"
    data-key="dot${i + 1}" aria-label="scene ${i + 1}: ${name}" title="${name}" class="${i + 1 < now ? "done" : ""}"
    ${i + 1 === now ? 'aria-current="step"' : ""}></button>`).join("");
  $("back").disabled = now === 1, $("next").disabled = now === SCENES.length;
  $("hint").textContent = [drawing() ? "" : "← → scenes", now > 1 || drawing() ? hint : ""].filter(Boolean).join(", ");
  const focus = key && document.querySelector(`[data-key="${key}"]`);
  if (focus) focus.focus({ preventScroll: true });
  splash = "";
  animate();
}
function turn(to) {
  state.scene = clamp(to, 1, SCENES.length), trail = [], notice = "";
  keep(true), render(), scrollTo(0, 0);
  $("said").textContent = `Scene ${state.scene}. ${SCENES[state.scene - 1][1]}`;
}
const ACTS = {
  turn: (by) => turn(state.scene + +by), scene: (n) => turn(+n), go: (s) => go(+s),
  ship: () => { state.best = BEST, state.worse = DETOUR, trail = [], notice = "", memory.clear(); },
  redraw: () => { state = fresh(), trail = [], notice = "", memory.clear(); },
  pick: (s) => {
    const picks = state.picks[state.seen >> 1], i = picks.indexOf(+s);
    i < 0 ? picks.push(+s) : picks.splice(i, 1);
  },
  more: () => { state.seen++; }, again2: () => { state.seen = 0, state.picks = fresh().picks; },
  judge: (c) => { state.judged += c; }, again3: () => { state.judged = "", state.time = 0; },
  bet: (b) => { state.bet = b; }, foe: (f) => { state.foe = f; }, again4: () => { state.bet = "", state.foe = "own"; },
  drop: (s) => { state.from = +s; }, brain: (b) => { state.brain = b; },
  fresh: () => { memory.clear(), state = fresh(); },
};
function act(what) {
  const [name, argument] = what.split(":");
  ACTS[name](argument);
  if (name !== "turn" && name !== "scene") keep(false), render();
}
const step = (move) => act(`go:${Lake.go(map, standing(), move)}`);

// ---- mouse, keys, fingers -----------------------------------------------------------------------------------------
document.addEventListener("click", (event) => {
  const on = event.target.closest("[data-act]");
  if (on && !swiped) act(on.dataset.act);
  swiped = false;
});
document.addEventListener("keydown", (event) => {
  const { key, target } = event, move = ["ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp"].indexOf(key);
  if (event.ctrlKey || event.metaKey || event.altKey || target.type === "range") return;
  const cell = target.closest("g[data-act]"), held = cell && cell.matches(":focus-visible"), low = key.toLowerCase();
  const judging = document.querySelector(`[data-act="judge:y"]`), main = $("primary");
  if (move >= 0 && drawing()) step(move);
  else if (key === "ArrowLeft" || key === "ArrowRight") turn(state.scene + move - 1);
  else if ((key === "Enter" || key === " ") && held) act(cell.dataset.act);
  else if (key === " " && target.tagName !== "BUTTON" && main) act(main.dataset.act);
  else if ((low === "y" || low === "n") && judging) act(`judge:${low}`);
  else return;
  event.preventDefault();
});
document.addEventListener("input", (event) => {             // the slider stays; what it changes is drawn anew
  if (event.target.id !== "time") return;
  state.time = +event.target.value;
  keep(false);
  const anew = document.createElement("div"), panel = event.target.closest(".panel");
  anew.innerHTML = ghost();
  document.querySelector(".left").replaceWith(anew.querySelector(".left"));
  [...anew.querySelector(".panel").children].forEach((part, i) => {
    if (part.id !== "time") panel.children[i].innerHTML = part.innerHTML;
  });
});
let down = null;
document.addEventListener("pointerdown", (event) => {
  down = event.target.closest("[data-draw]") ? event : null, swiped = false;
});
document.addEventListener("pointerup", (event) => {         // a swipe on the lake draws, too
  const [x, y] = down ? [event.clientX - down.clientX, event.clientY - down.clientY] : [0, 0];
  if (Math.max(Math.abs(x), Math.abs(y)) < 24 || !drawing()) return;
  step(Math.abs(x) > Math.abs(y) ? (x > 0 ? Lake.RIGHT : Lake.LEFT) : y > 0 ? Lake.DOWN : Lake.UP);
  swiped = true, down = null;
});
addEventListener("popstate", () => { memory.clear(), state = load(location.hash), trail = [], render(); });
state = load(location.hash);
render();
