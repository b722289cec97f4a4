// Scene 5: a bet, then drop the four trained students in any cell and see where they go.
const ENDS = { goal: "✓ arrives", hole: "✗ falls in", loop: "✗ in circles" };
const CORNER = [[-21, -21], [21, -21], [-21, 21], [21, 21]];            // four agents in one cell
const aside = () => map.live.find((s) => !gold.s.includes(s) && !pair("own").loser.s.includes(s))
  ?? map.live.find((s) => !gold.s.includes(s)) ?? map.start;
const student = (name) => policy(name, "own");
const walks = () => METHODS.map((name) => Lake.drop(map, student(name), state.from));
const arrivals = () => METHODS.map((name) => Lake.arrives(map, student(name)));
const winners = () => METHODS.filter((_, i) => arrivals()[i] === Math.max(...arrivals()));

function dropScene() {
  if (!state.guess) {
    return { body: scene(lake({ under: both(), label: "both ways", tell: alongWays }),
      say(`Each method has trained its student for ${DATA.hp.steps} updates. Now each starts once from every one of the
        ${map.live.length} cells of ice and follows its likeliest moves.`), say(legend, "small"),
      say("Which student reaches the goal from the most cells?", "big")),
    actions: METHODS.map((name) => button(`guess:${name}`, method(name))) };
  }
  const { from } = state, dropped = from >= 0, runs = dropped ? walks() : [];
  const agents = METHODS.map((name) => `<g class="agent ${name}" id="agent-${name}">${SHAPE[name]}</g>`).join("");
  const picture = lake({
    label: "choose a cell to start from", at: dropped ? from : map.start, under: line(gold, "best"),
    over: runs.map(route).join("") + (dropped ? agents : ""), cls: (s) => (s === from ? "picked" : ""),
    act: (s) => (map.live.includes(s) ? `drop:${s}` : ""),
    tell: (s) => [s === from ? "they start here" : "", ...alongWays(s)],
  });
  const rows = METHODS.map((name, i) => [method(name), ...(dropped ? [ENDS[runs[i].end]] : []),
    `<b>${Lake.arrives(map, student(name))}</b> of ${map.live.length}`, num(Lake.distance(map, student(name), good))]);
  const told = METHODS.map((name, i) => dropped && `${upper(name)} ${ENDS[runs[i].end].slice(2)}`).join(", ");
  return { body: scene(picture, live(guessResult()),
    dropped ? live(`From ${place(from)}, ${whose(from)} ${told}.`, "say")
      : say("Choose any cell of ice: all four start there."),
    table(`Arrives from: so many cells from which the likeliest moves reach the goal. Distance: as in scene 4.
      The two need not agree.`,
      ["student", ...(dropped ? ["from here"] : []), "arrives from", "distance"], rows, true),
    takeaway(`beside the ways that were shown a student only guesses: to be near the best chances and to arrive are
      two things.`)),
  actions: [...(dropped ? [primary("turn:1", "Watch them learn")] : [primary(`drop:${aside()}`, "Drop them aside")]),
    button("again5", "Bet again")] };
}
function guessResult() {
  const best = winners(), right = best.includes(state.guess), n = Math.max(...arrivals());
  return `You said ${upper(state.guess)}. ${right ? "Yes" : "No"}: <b>${best.map(upper).join(" and ")}</b>
    ${best.length > 1 ? "arrive" : "arrives"} from the most cells, ${n} of ${map.live.length}.`;
}
function whose(s) {                                         // what the methods were shown of this cell
  const onBest = gold.s.includes(s), onWorse = pair("own").loser.s.includes(s);
  if (onBest) return "a cell of the best way:";
  return onWorse ? "a cell of the worse way (SFT and IFT never saw that way):"
    : "a cell where nobody showed what to do:";
}
function route(run, i) {                                    // the trail of one student
  const points = [...run.s, run.last].map((s) => middle(s).map((x, j) => x + CORNER[i][j]));
  return `<polyline class="route ${METHODS[i]}" points="${points.join(" ")}"/>`;
}

let timer = 0;
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
function animate() {
  // the four walk, one cell a beat; calm: they stand at the end
  clearTimeout(timer);
  if (state.scene !== 5 || state.from < 0 || !state.guess) return;
  const runs = walks(), longest = Math.max(...runs.map((r) => r.s.length));
  const beat = (k) => {
    runs.forEach((r, i) => {
      const [x, y] = middle(k < r.s.length ? r.s[k] : r.last).map((v, j) => v + CORNER[i][j]);
      const sunk = k >= r.s.length && r.end === "hole", agent = $(`agent-${METHODS[i]}`);
      agent.style.transform = `translate(${x}px, ${y}px) scale(${sunk ? 1.1 : 1.6})`;
      agent.classList.toggle("sunk", sunk);
    });
    if (k < longest) timer = setTimeout(beat, 330, k + 1);
  };
  beat(calm() ? longest : 0);
}
Object.assign(ACTS, {
  guess: (name) => { state.guess = name; }, drop: (s) => { state.from = +s; },
  again5: () => { state.guess = "", state.from = -1; },
});
