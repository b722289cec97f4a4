// Scene 6: watch all four learn at once, forwards and backwards, with other settings. Only this scene uses the dials.
const DIALS = {
  beta: ["β, DPO's KL penalty", "how hard DPO is held to its start; a small one lets it go far"],
  lam: ["λ, IFT's ghost", "the share of the student's own next cell in what IFT reads"],
  lr: ["learning rate", "how far one update goes, for all four"],
};
const PARTS_SHOWN = 200;                                    // frames at most, however many updates there are
const stride = () => Math.ceil(DATA.hp.steps / PARTS_SHOWN);
const lastFrame = () => Math.ceil(DATA.hp.steps / stride());
const updateOf = (frame) => Math.min(frame * stride(), DATA.hp.steps);
function learners() {                                       // [{name, policies, distance}] at every frame
  const { beta, lam, lr } = state, kind = loserKinds().includes(state.loser) ? state.loser : "own";
  return cached(`all four ${here()} ${kind} ${beta} ${lam} ${lr}`, () => METHODS.map((name) => {
    const policies = [];
    const last = Lake.train(name, start, { ...pair(kind), beta, lam }, { lr }, DATA.hp.steps,
      (i, now) => i % stride() === 0 && policies.push(now.map(Lake.softmax)));
    policies.push(last.map(Lake.softmax));
    return { name, policies, distance: policies.map((p) => Lake.distance(map, p, good)) };
  }));
}
const frameNow = () => clamp(state.at, 0, lastFrame());
const chanceOfBest = (p, s) => good[s].reduce((sum, a) => sum + p[s][a], 0);

function trainScene() {
  const frame = frameNow(), all = learners(), now = plural(updateOf(frame), "update");
  const rows = all.map(({ name, policies, distance }) => [method(name), num(distance[frame]),
    `${Lake.arrives(map, policies[frame])} of ${map.live.length}`]);
  const dial = ([name, [label, about]]) => slider(name, `${label}: <b>${state[name]}</b>`, TRIED[name].length - 1,
    TRIED[name].indexOf(state[name]), `${state[name]}: ${about}`);
  return { body: `<div class="four">${all.map((one) => learner(one, frame)).join("")}</div>
    ${say(`Arrow: the likeliest move, larger when surer. Cell: the chance of a best move,
      <span class="up">+ higher</span> or <span class="down">− lower</span> than before training.`, "small")}
    <div class="bench"><div>${slider("at", `After <b>${now}</b>`, lastFrame(), frame, `${now}: ${told(all, frame)}`)}
    ${chart(all, frame)}</div>
    <div>${table(`After ${now}`, ["student", "distance", "arrives from"], rows)}</div>
    <div>${loserKinds().length < 2 ? "" : choices("The worse way:", ...loserKinds().map((k) =>
      choice(`loser:${k}`, loserName(k), k === state.loser)))}${Object.entries(DIALS).map(dial).join("")}</div></div>
    ${playing ? "" : live(`After ${now}: ${told(all, frame)}.`, "unseen")}
    ${takeaway(`all four start together; another worse way or other dials can change who is ahead, so one run proves
      nothing. ${wordsFor("sft")}`)}`,
  actions: [primary("play", playing ? "❚❚ Pause" : "▶ Play"), button("again6", "First settings"),
    button("turn:1", "The verdict")] };
}
const told = (all, frame) => all.map(({ name, distance }) => `${upper(name)} ${num(distance[frame])}`).join(", ");
function learner({ name, policies, distance }, frame) {
  const now = policies[frame], before = policies[0], sure = (s) => Math.max(...now[s]);
  const gain = (s) => chanceOfBest(now, s) - chanceOfBest(before, s);
  const inside = (s) => {
    if (!map.live.includes(s)) return "";
    const g = gain(s), cls = g > 0 ? "up" : "down", sign = Math.abs(g) < 0.005 ? "" : g > 0 ? "+" : "−";
    return `<rect class="gain ${cls}" style="--g:${Math.abs(g).toFixed(3)}" x="-46" y="-46"
      width="92" height="92" rx="17"/>
      ${arrow(Lake.argmax(now[s]), "now", 0.3 + 0.5 * sure(s))}
      <text class="corner ${cls}" x="33" y="-30">${sign}</text>`;
  };
  const tell = (s) => (map.live.includes(s) ? `${NAMES[Lake.argmax(now[s])]} ${percent(sure(s))}` : "");
  return `<figure><figcaption>${method(name)}<span>${num(distance[frame])}</span></figcaption>
    ${lake({ label: `${upper(name)}: likeliest moves`, inside, tell })}</figure>`;
}
function chart(all, frame) {                                // distance over updates, one line a method
  const wide = 560, high = 190, n = lastFrame(), top = Math.max(...all.flatMap((one) => one.distance)) * 1.05;
  const x = (i) => 8 + (i / n) * (wide - 110), y = (d) => high - 8 - (d / top) * (high - 20);
  const ends = all.map((one) => ({ one, y: y(one.distance[n]) })).sort((a, b) => a.y - b.y);
  ends.forEach((end, i) => { end.y = Math.max(end.y, i ? ends[i - 1].y + 24 : 12); });
  const over = Math.max(0, ends[3].y - (high - 12));
  const dotAt = (one) => `translate(${x(frame).toFixed(1)},${y(one.distance[frame]).toFixed(1)}) scale(.7)`;
  const lines = ends.map(({ one, y: at }) => `<g class="${one.name}">
    <polyline points="${one.distance.map((d, i) => `${x(i).toFixed(1)},${y(d).toFixed(1)}`).join(" ")}"/>
    <g class="dot" transform="${dotAt(one)}">${SHAPE[one.name]}</g>
    <text x="${x(n) + 12}" y="${at - over}">${upper(one.name)}</text></g>`).join("");
  return `<svg class="chart" viewBox="0 0 ${wide} ${high}" role="img"
    aria-label="distance over updates: ${told(all, frame)}">
    <path class="axis" d="M8 4V${high - 8}H${x(n)}"/><path class="cursor" d="M${x(frame).toFixed(1)} 4V${high - 8}"/>
    <text class="soft" x="14" y="${high - 22}">distance</text>${lines}</svg>`;
}

let playing = 0;
function play() {
  clearInterval(playing);
  if (playing) { playing = 0; return; }
  if (frameNow() === lastFrame()) state.at = 0;
  const jump = calm() ? Math.ceil(lastFrame() / 10) : 1;
  playing = setInterval(() => {
    state.at = Math.min(frameNow() + jump, lastFrame());
    const over = state.at === lastFrame() || state.scene !== 6;
    if (over) clearInterval(playing), playing = 0, keep(false);
    render();
    if (over) Common.tell(`The end. ${liveText()}`);
  }, calm() ? 700 : 50);
}
Object.assign(ACTS, {
  play, again6: () => { state.loser = "own", Object.keys(DIALS).forEach((name) => { state[name] = DATA.hp[name]; }); },
});
