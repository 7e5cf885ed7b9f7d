// Plays recorded rounds side by side. The bytes are those of marlrobust/recorded.py.

const PLANES = 8;  // bytes per agent and frame: x and y (low, high), health, marks, action, action without the attack

/** The frames of a round, from text: planes of (steps + 1) x agents numbers, and the rewards of the steps. */
async function decode(text, agents) {
  const packed = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const frames = (bytes.length + 4) / (PLANES * agents + 4), size = frames * agents;
  const planes = Array.from({ length: PLANES }, (_, p) => bytes.slice(p * size, (p + 1) * size));
  for (const plane of planes.slice(0, 6)) for (let i = agents; i < size; i++) plane[i] += plane[i - agents];
  planes[7].forEach((difference, i) => planes[7][i] = difference ^ planes[6][i]);
  const whole = (low, high) => Uint16Array.from(low, (byte, i) => byte | high[i] << 8);
  const [xl, xh, yl, yh, health, marks, action, without] = planes;
  const rewards = new DataView(bytes.buffer, PLANES * size);
  return {
    x: whole(xl, xh), y: whole(yl, yh), health, marks, action, without,
    rewards: Array.from({ length: frames - 1 }, (_, t) => rewards.getFloat32(4 * t, true)),
  };
}

/** Sums of the numbers up to each step, from 0 on. */
const sums = numbers => numbers.reduce((all, number) => [...all, all[all.length - 1] + number], [0]);

/** A round that can be asked for any of its steps, and what its curves need. */
async function opened(told) {
  const kinds = told.stage.kinds;
  const agents = kinds.flatMap(({ team, size, body, acts }) => {
    const side = team < 0 ? "nobody" : told.tested.includes(team) ? "own" : "foe";
    return Array.from({ length: size }, () => ({ side, body, acts }));
  });
  const n = agents.length, frames = await decode(told.frames, n), steps = frames.rewards.length;
  const at = step => {
    const from = Math.min(step, steps) * n, cut = name => frames[name].subarray(from, from + n);
    return { x: cut("x"), y: cut("y"), health: cut("health"), marks: cut("marks"), action: cut("action"), without: cut("without") };
  };
  const every = Array.from({ length: steps + 1 }, (_, step) => at(step));
  const count = (side, mark) => every.map(f => agents.filter((a, i) => a.side === side && f.marks[i] & mark).length);
  const died = agents.map((_, i) => every.findIndex(frame => !(frame.marks[i] & ALIVE)));
  const changed = every.map(f => f.action.reduce((all, act, i) => all + (act !== f.without[i]), 0));
  const deaths = died.map(step => step >= 0), fight = agents.some(({ side }, i) => side !== "nobody" && deaths[i]);
  const arrows = agents.some(one => one.acts.length) ? changed : [];
  return {
    ...told, agents, steps, at, died, deaths, fight, changed, arrows, smallest: Math.min(...kinds.flatMap(kind => kind.body)),
    own: count("own", ALIVE), foe: count("foe", ALIVE), nobody: count("nobody", ALIVE),
    attackedNow: count("own", ATTACKED), turned: count("own", TURNED), proven: count("own", PROVEN),
    gains: sums(count("own", GAINED).slice(0, -1)), reward: sums(frames.rewards),
  };
}

/** The step at which half of what sets the rounds apart in reward, or half of the only one's reward, has come. */
function decisive(rounds) {
  const last = Math.max(...rounds.map(round => round.steps));
  const of = (round, t) => round ? round.reward[Math.min(t, round.steps)] : 0;
  const apart = t => Math.abs(of(rounds[0], t) - of(rounds[1], t));
  for (let t = 0; t <= last; t++) if (apart(t) >= apart(last) / 2 && t > 0) return t;
  return last;
}

class Player {
  constructor(section) {
    this.section = section;
    this.told = JSON.parse(section.querySelector(".replay-data").textContent);
    this.part = name => section.querySelector(`.replay-${name}`);
    this.boards = [...section.querySelectorAll(".replay-board")];
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.step = 0; this.share = 0; this.playing = false; this.fresh = true; this.printing = false;
    this.rounds = [];
    this.listen();
    this.ready = this.offer();
  }

  get look() { return this.told.look[this.dark.matches && !this.printing ? "dark" : "light"]; }
  get last() { return Math.max(0, ...this.rounds.map(round => round.steps)); }

  listen() {
    const on = (name, kind, what) => this.part(name).addEventListener(kind, what);
    on("play", "click", () => this.toggle());
    on("back", "click", () => this.go(this.step - 1));
    on("forward", "click", () => this.go(this.step + 1));
    on("start", "click", () => this.go(0));
    on("slider", "input", event => this.go(Number(event.target.value)));
    on("policy", "change", () => this.offerAttacks());
    on("attack", "change", () => this.open());
    this.section.addEventListener("keydown", event => this.key(event));
    this.dark.addEventListener("change", () => this.draw());
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
    new ResizeObserver(() => this.draw()).observe(this.part("boards"));
    for (const canvas of this.section.querySelectorAll(".replay-curve")) {
      const seek = event => canvas.seek && this.go(canvas.seek(event.offsetX));
      canvas.addEventListener("pointerdown", seek);
      canvas.addEventListener("pointermove", event => event.buttons && seek(event));
    }
    for (const canvas of this.section.querySelectorAll(".replay-board canvas:first-of-type"))
      canvas.addEventListener("click", () => this.toggle());
  }

  key(event) {
    if (event.target.matches("select")) return;
    const keys = { ArrowLeft: () => this.go(this.step - 1), ArrowRight: () => this.go(this.step + 1),
      Home: () => this.go(0), End: () => this.go(this.last), " ": () => this.toggle() };
    if (!keys[event.key] || event.key === " " && event.target.matches("button")) return;
    event.preventDefault();
    keys[event.key]();
  }

  /** Fills the choice of policies, then that of attacks, then opens what is chosen. */
  offer() {
    options(this.part("policy"), this.told.pairs.map(pair => pair.policy));
    return this.offerAttacks();
  }

  offerAttacks() {
    const chosen = this.part("policy").value;
    options(this.part("attack"), this.told.pairs.filter(pair => pair.policy === chosen).map(pair => pair.attack));
    return this.open();
  }

  async open() {
    this.pause();
    const [policy, attack] = [this.part("policy").value, this.part("attack").value];
    const pair = this.told.pairs.find(pair => pair.policy === policy && pair.attack === attack);
    this.view = pair.view;
    const numbers = [pair.clean, pair.attacked].filter(number => number !== null);
    this.rounds = await Promise.all(numbers.map(number => opened(this.told.rounds[number])));
    this.boards.forEach((board, i) => board.hidden = i >= this.rounds.length);
    this.section.classList.toggle("replay-single", this.rounds.length === 1);
    for (const item of this.section.querySelectorAll("[data-when]"))
      item.hidden = !this.rounds.some(round => round[item.dataset.when].some(Boolean));
    this.part("slider").max = this.last;
    this.fresh = true;
    this.go(decisive(this.rounds), true);
  }

  go(step, opening = false) {
    if (!opening) { this.fresh = false; this.pause(); }
    this.step = Math.min(Math.max(step, 0), this.last);
    this.share = 0;
    this.draw();
  }

  toggle() {
    if (this.playing) return this.pause();
    if (this.fresh || this.step >= this.last) this.step = 0;
    this.fresh = false;
    this.playing = true;
    this.button();
    let before = performance.now();
    const tick = now => {
      if (!this.playing) return;
      this.share += Math.max(now - before, 0) / 1000 * Number(this.part("speed").value);  // a frame may have begun before
      before = Math.max(now, before);
      this.step += Math.floor(this.share);
      this.share %= 1;
      if (this.step >= this.last) { this.step = this.last; this.pause(); }
      this.draw();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  pause() {
    this.playing = false;
    this.share = 0;
    this.button();
  }

  button() {
    const button = this.part("play");
    button.textContent = this.playing ? "❚❚" : "▶";
    button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
  }

  /** On paper: the decisive step, in the colours of paper. */
  print(on) {
    this.printing = on;
    if (on) { this.before = this.step; this.pause(); this.step = this.rounds.length ? decisive(this.rounds) : 0; }
    else this.step = this.before;
    this.draw();
  }

  draw() {
    if (!this.rounds.length) return;
    const { look, step, last } = this;
    this.part("slider").value = step;
    this.part("step").textContent = `step ${step} of ${last}`;
    this.rounds.forEach((round, i) => {
      const board = this.boards[i], part = name => board.querySelector(`.replay-${name}`);
      part("title").textContent = round.title;
      part("words").textContent = round.words;
      drawBoard(part("field"), look, round, this.view, step, step < round.steps ? this.share : 0);
      part("state").textContent = state(round, step);
      const { fight } = round;
      const curves = [{ values: fight ? round.own : round.gains, colour: look.own }];
      if (fight && round.foe[0]) curves.push({ values: round.foe, colour: look.foe, dashed: true });
      const others = round.foe[0] ? `: ${round.names.own}, ${round.names.foe} (dashed)` : "";
      const name = fight ? `alive${others}` : "actions that brought an agent reward, so far";
      part("curve").hidden = !fight && !round.gains.some(Boolean);
      part("curve").seek = drawChart(part("curve"), look, name, curves, last, step);
    });
    const rewards = this.rounds.map(round => (
      { values: round.reward, colour: round.attacked ? look.mark : look.own, dashed: round.attacked }));
    const both = this.rounds.length > 1 ? ": not attacked, attacked (dashed)" : "";
    this.part("reward").seek = drawChart(this.part("reward"), look, `reward so far${both}`, rewards, last, step);
    for (const canvas of this.section.querySelectorAll("[data-symbol]"))
      SYMBOLS[canvas.dataset.symbol](sharp(canvas, 24, 24), look, 12);
  }
}

/** What stands below a board. */
function state(round, step) {
  const now = Math.min(step, round.steps), over = step >= round.steps;
  const told = [over ? round.result : `step ${now}`];
  const teams = ["own", "foe"].filter(side => round[side][0]).map(side => `${round.names[side]} ${round[side][now]}`);
  if (round.fight) told.push(`${teams.join(", ")} alive`);
  if (round.nobody.some(n => n < round.nobody[0])) told.push(`${round.nobody[now]} of ${round.nobody[0]} ${round.names.nobody} left`);
  told.push(`reward ${round.reward[now].toFixed(1)}`);
  if (round.attackedNow[now]) told.push(`the attack changes ${round.changed[now]} of ${round.attackedNow[now]} actions`);
  return told.join(" · ");
}

function options(select, names) {
  const once = [...new Set(names)];
  select.replaceChildren(...once.map(name => new Option(name, name)));
  select.closest("label").hidden = once.length < 2;
}

for (const section of document.querySelectorAll(".replay")) section.player = new Player(section);
