// The chooser: a form, the rows of the nearest regime, the map. All text goes through Common.esc or textContent.
(() => {
  const {esc, tell} = Common, at = (id) => document.getElementById(id), regimes = MAP.regimes;
  const values = (key) => [...new Set(regimes.map((g) => g[key] ?? ""))];
  const usual = {demos: 100, samples: 1000, wrong: "", have: "scores", source: "own", base: values("base")[0],
    "demo-price": 0.5, "judge-price": -1.3};              // logarithms: 3 and 5 cents
  const numbers = (key) => values(key).filter((n) => n > 0).sort((a, b) => a - b);
  let ask = {...usual}, wait;

  // ---- the form ---------------------------------------------------------------------------------------------
  for (const key of ["demos", "samples"]) {
    for (const n of numbers(key)) {
      const b = document.createElement("button");
      b.type = "button"; b.textContent = Choose.count(n); b.value = n;
      b.onclick = () => change({[key]: n});
      at(`${key}-presets`).append(b);
    }
  }
  for (const key of ["source", "base"]) {
    for (const v of values(key)) at(key).append(new Option(Choose.kinds[v] || v, v));
    at(key).closest("label").hidden = values(key).length < 2;
  }
  at("more").hidden = ["source", "base"].every((key) => values(key).length < 2);
  at("chooser").addEventListener("click", ({target}) => { if (target.matches("[data-copy]")) copy(target); });
  at("ask").onsubmit = (e) => e.preventDefault();
  at("ask").oninput = (e) => {
    const {id, name, value} = e.target;
    if (e.target.type !== "number") return change({[id || name]: value});
    const bad = ["demos", "samples"].filter((key) => !at(key).disabled && !Choose.whole(at(key).value));
    for (const key of ["demos", "samples"]) at(key).setAttribute("aria-invalid", bad.includes(key));
    if (!bad.length) return change({[id]: Number(value)}, e.target);
    rest(() => { at("h-wrong-number").textContent = "Type a whole number from 1 to 1,000,000,000."; });
  };
  const rest = (what) => { clearTimeout(wait); wait = setTimeout(what, 400); };             // once the typing rests

  function change(changes, typed = null) {
    ask = {...ask, ...changes};
    Common.write(Object.fromEntries(Object.keys(usual).map((key) => [key, ask[key]])));
    show(typed);
    rest(() => tell(["nearest", "advice", "other"].map((id) => at(id).textContent.replace(/\s*its rows$/, "")).join(" ")));
  }

  function fields(typed) {
    for (const key of ["demos", "samples"]) {
      if (at(key) !== typed) at(key).value = ask[key];
      at(key).setAttribute("aria-invalid", "false");
      for (const b of at(`${key}-presets`).children) b.setAttribute("aria-pressed", Number(b.value) === ask[key]);
    }
    for (const key of ["wrong", "source", "base"]) at(key).value = ask[key];
    for (const key of ["demo-price", "judge-price"]) {
      at(key).value = ask[key];
      at(`${key}-out`).textContent = Choose.money(ask[key]);
      at(key).setAttribute("aria-valuetext", Choose.money(ask[key]));
    }
    document.querySelector(`#have [value=${ask.have}]`).checked = true;
    const none = ask.have === "nothing";
    at("samples").disabled = at("source").disabled = none;
    for (const b of at("samples-presets").children) b.disabled = none;
    at("h-wrong-number").textContent = "";
  }

  // ---- the answer -------------------------------------------------------------------------------------------
  function show(typed = null) {
    fields(typed);
    const g = Choose.nearest(regimes, ask), rows = Choose.rows(g, ask.have), second = Choose.second(regimes, ask);
    at("nearest").textContent = Choose.difference(g, ask);
    at("advice").textContent = rows.length ? Choose.advice(rows, MAP.margin) : "No method here uses what you have.";
    at("other").innerHTML = second ? `${esc(Choose.also(second, Choose.rows(second, ask.have), rows, ask, MAP.margin))}
      <button type="button">its rows</button>` : "";
    if (second) at("other").lastElementChild.onclick = () =>
      change({demos: second.demos, ...(ask.have === "nothing" ? {} : {samples: second.samples})});
    at("cleaning").hidden = !ask.wrong;
    at("price").textContent = Choose.price(MAP.exchange, ask);
    at("mine").textContent = Choose.mine(rows, ask.have).join("\n");
    at("caveat").textContent = `Read with care: one small world (NanoWorld), a model of one million parameters, ${MAP.seeds} `
      + "seeds. The order may differ for your model and data; try the cheapest of the tied rows first.";
    at("reading").textContent = `Score: ${MAP.endpoint}, percent; points are percent points. ± and bars: 95 % intervals for other `
      + "seeds (other data in another order) and other prompts. * settings from another regime: such a row may be better, but is never "
      + 'called worse or equal. Rows with "=" share their rank: not told apart from the first of them. Equal: surely within '
      + `${+(100 * MAP.margin).toFixed(1)} points; undecided: more seeds would tell. Cost: FLOPs (computing operations) of everything a row `
      + `needs, over SFT's. What else changes: only what surely does. Made by ${MAP.command}. The commands of a row repeat our run in `
      + "NanoWorld, one block after the other in one folder: lines that stood in a block before are not typed again.";
    const ends = rows.flatMap((r) => [r.gain[0] - (r.gain[1] || 0), r.gain[0] + (r.gain[1] || 0)]);
    const low = Math.max(-0.3, Math.min(-0.02, ...ends)), high = Math.max(0.02, ...ends);
    const body = at("choices").tBodies[0];
    at("choices-caption").textContent = `Best first: ${rows.length} ${rows.length === 1 ? "row" : "rows"}`;
    const opened = new Set([...body.querySelectorAll("details[open]")].map((d) => d.dataset.name));
    body.innerHTML = rows.map((r) => line(r, low, high)).join("");
    for (const d of body.querySelectorAll("details")) d.open = opened.has(d.dataset.name);
    map(g);
  }

  // A difference and its interval on a scale with 0; what lies farther than the scale is an arrow at its end.
  function interval(mean, half, low, high) {
    const at = (x) => (4 + 92 * (Math.min(Math.max(x, low), high) - low) / (high - low)).toFixed(1), h = half || 0;
    const arrow = mean < low ? "M9,1L0,7L9,13Z" : mean > high ? "M91,1L100,7L91,13Z" : "";
    return `<svg class="range" viewBox="0 0 100 14" aria-hidden="true"><path class="zero" d="M${at(0)},0V14"/>
      <path class="band" d="M${at(mean - h)},7H${at(mean + h)}"/>${arrow ? `<path class="dot" d="${arrow}"/>`
      : `<circle class="dot" cx="${at(mean)}" cy="7" r="3.5"/>`}</svg>`;
  }

  const cell = (title, html, kind = "") => `<td role="cell" data-title="${title}" class="${kind}">${html}</td>`;
  function line(r, low, high) {
    const c = r.cost, name = esc(r.name), about = [Choose.full[r.name], r.needs === "nothing" ? "demonstrations only" : `uses ${r.needs}`,
      r.failed && `${r.failed} of ${MAP.seeds} seeds diverged`].filter(Boolean).join("; ");
    const changes = Choose.changes(r).map((x) => `<span class="${x.bad ? "bad" : x.good ? "good" : "plain"}">${
      x.bad ? "▼" : x.good ? "▲" : "•"} ${esc(x.text)} <small>${esc(x.word)}</small></span>`).join(" ");
    const lines = r.commands.map((i) => MAP.lines[i]).join(" &&\n");        // one that fails stops the rest
    return `<tr role="row" data-name="${name}">${cell("rank", Choose.ties(r))}
      <th scope="row" role="rowheader">${name} <small>${esc(about)}</small></th>`
      + cell("score", `${(100 * r.endpoint[0]).toFixed(1)} <small>± ${(100 * r.endpoint[1]).toFixed(1)}</small>`, "n")
      + (r.verdict === "baseline" ? cell("minus SFT", "<small>the baseline</small>", "gain") : cell("minus SFT",
        `${Choose.gain(r.gain)} <small>${esc(Choose.word(r.verdict, MAP.margin))}</small>`, "gain"))
      + `<td role="cell" class="picture">${r.verdict === "baseline" ? "" : interval(r.gain[0], r.gain[1], low, high)}</td>`
      + cell("cost", `${Choose.times(c.relative)} SFT <small>${c.samples ? `${Choose.count(c.samples)} answers drawn; ` : ""}${
        Number(c.flops).toPrecision(2).replace("e+", "e")} FLOPs${c.at_inference > 1 ? `; ${Number(c.at_inference)} answers at every use` : ""}</small>`)
      + cell("what else changes", changes || "<small>nothing for sure</small>")
      + `</tr><tr role="row" class="run"><td role="cell" colspan="7"><details data-name="${name}"><summary>Commands of ${name}</summary>
      <div class="code"><pre tabindex="0" aria-label="commands of ${name}">${esc(lines)}</pre>
      <button type="button" data-copy aria-label="copy the commands of ${name}">copy</button></div></details></td></tr>`;
  }

  async function copy(b) {
    const pre = b.parentElement.querySelector("pre");
    let done = "copied";
    try {
      await navigator.clipboard.writeText(pre.textContent);
    } catch {                                               // no clipboard: the text is marked, the reader copies it
      getSelection().selectAllChildren(pre);
      done = "marked: press Ctrl+C (Mac: Cmd+C)";
    }
    b.textContent = done; tell(done);
    setTimeout(() => { b.textContent = "copy"; }, 4000);
  }

  // ---- the map: demonstrations down, answers across, in the situation of the form ---------------------------
  function map(now) {
    const have = ask.have === "nothing" ? "reward" : ask.have;
    const there = regimes.filter((g) => ["base", "source"].every((key) => g[key] === now[key])
      && (g.noise > 0) === (now.noise > 0));
    const sizes = (key) => [...new Set(there.map((g) => g[key]))].sort((a, b) => a - b), columns = sizes("samples");
    const one = (demos, samples) => {
      const g = there.find((r) => r.demos === demos && r.samples === samples);
      if (!g) return "<td><small>not measured</small></td>";
      const top = Choose.top(Choose.rows(g, have)), best = Choose.cheapest(top), tied = top.length - 1;
      const unseen = (text) => `<span class="unseen">${esc(text)}</span>`, sft = best.verdict === "baseline";
      const before = `${Choose.size(demos, samples, Choose.what[have], g.noise > 0)}: `;
      return `<td><button type="button" data-demos="${Number(demos)}" data-samples="${Number(samples)}" aria-pressed="${g === now}">${
        unseen(before)}<b>${esc(best.name)}</b>${tied ? " =" : ""}${unseen(tied ? ` tied with ${tied} more,` : ",")}<small>${
        sft ? "±0" : Choose.signed(best.gain[0])}</small>${unseen(sft ? " the baseline" : " points over SFT")}</button></td>`;
    };
    document.querySelector("#grid-hint span").textContent = have === ask.have ? ""
      : 'You chose "nothing more"; the map shows what a reward would add. ';
    const held = document.activeElement?.closest?.("#grid button")?.dataset;
    at("grid").innerHTML = `<caption>Best row with ${Choose.what[have]}; points over SFT of the same demonstrations</caption><thead><tr>
      <th scope="col">demonstrations</th>${columns.map((n) => `<th scope="col">${n ? `${Choose.count(n)} answers` : "no answers"}</th>`).join("")}
      </tr></thead><tbody>${sizes("demos").map((d) => `<tr><th scope="row">${Choose.count(d)}</th>${
      columns.map((s) => one(d, s)).join("")}</tr>`).join("")}</tbody>`;
    for (const b of at("grid").querySelectorAll("button")) {
      const {demos, samples} = b.dataset;
      b.onclick = () => change({demos: Number(demos), ...(Number(samples) ? {samples: Number(samples), have} : {have: "nothing"})});
      if (held && held.demos === demos && held.samples === samples) b.focus();
    }
  }

  // ---- from the address, now and when a link changes it ------------------------------------------------------
  function open() {
    const state = Common.read();
    ask = {...usual};
    for (const key of ["demos", "samples"]) if (Choose.whole(state[key])) ask[key] = Number(state[key]);
    if (Object.hasOwn(Choose.uses, state.have ?? "")) ask.have = state.have;
    if (state.wrong) ask.wrong = "1";
    for (const key of ["source", "base"])
      if (values(key).map(String).includes(state[key])) ask[key] = state[key];
    for (const key of ["demo-price", "judge-price"])
      if (/^-?\d(\.\d+)?$/.test(state[key] ?? "")) ask[key] = Number(state[key]);
    show();
  }
  Common.theme(at("theme"));
  addEventListener("hashchange", open);
  open();
})();
