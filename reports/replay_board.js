// Draws one step of a round, and curves over its steps. What the symbols mean, the legend on the page says.

const ALIVE = 1, ATTACKED = 2, TURNED = 4, PROVEN = 8, GAINED = 16;
const TRACE = 6;  // steps for which the place of a dead agent stays marked

/** A canvas made sharp for this screen: its context, in CSS pixels, cleared. */
function sharp(canvas, width, height) {
  const ratio = Math.max(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.lineCap = "round";
  return pen;
}

function line(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

function disc(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
}

/** The shape of a team: round under test, square against it, small where nobody plays. */
function body(pen, side, x, y, radius) {
  if (side === "own") return disc(pen, x, y, radius);
  const r = side === "foe" ? radius * 0.9 : radius * 0.55;
  pen.beginPath();
  pen.roundRect(x - r, y - r, 2 * r, 2 * r, r * 0.3);
}

/** An agent: pale as large as it is, strong as far as it is healthy. */
function agent(pen, look, side, x, y, radius, health) {
  pen.fillStyle = look[side];
  pen.globalAlpha = 0.3;
  body(pen, side, x, y, radius);
  pen.fill();
  pen.globalAlpha = 1;
  body(pen, side, x, y, radius * Math.sqrt(health));
  pen.fill();
}

function ring(pen, colour, x, y, radius, width) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  disc(pen, x, y, radius);
  pen.stroke();
}

function proof(pen, look, x, y, size) {
  pen.fillStyle = look.proof;
  pen.strokeStyle = look.ground;
  pen.lineWidth = size * 0.3;
  pen.beginPath();
  [[0, -size], [size, 0], [0, size], [-size, 0]].forEach(([dx, dy]) => pen.lineTo(x + dx, y + dy));
  pen.closePath();
  pen.stroke();
  pen.fill();
}

/** Where an action goes, from (x, y): an arrow to a cell, a bar with a cross on what is hit, a small ring for staying. */
function way(pen, act, x, y, cell, radius, dashed) {
  pen.setLineDash(dashed ? [cell * 0.16, cell * 0.2] : []);
  const far = Math.hypot(act.x, act.y);
  if (!far) {
    disc(pen, x, y, radius * 0.45);
    pen.stroke();
  } else {
    const large = act.kind === "move" ? Math.max(radius - cell * 0.42, 0) : 0;  // outside of a body of several cells
    const [ux, uy] = [act.x / far, act.y / far], reach = far * cell + large, head = cell * 0.24;
    const start = Math.min(radius, reach - far * cell * 0.5), [tx, ty] = [x + ux * reach, y + uy * reach];
    line(pen, x + ux * start, y + uy * start, tx, ty);
    pen.setLineDash([]);
    if (act.kind === "hit") {
      line(pen, tx - head, ty - head, tx + head, ty + head);
      line(pen, tx - head, ty + head, tx + head, ty - head);
    } else {
      line(pen, tx, ty, tx - head * (ux + uy), ty - head * (uy - ux));
      line(pen, tx, ty, tx - head * (ux - uy), ty - head * (uy + ux));
    }
  }
  pen.setLineDash([]);
}

/** The marks of an agent under attack. doing, instead: its action, and the one without the attack; null where unknown. */
function attacked(pen, look, x, y, cell, radius, marks, changed, doing, instead) {
  ring(pen, changed ? look.mark : look.ink, x, y, radius + cell * 0.06, cell * (changed ? 0.16 : 0.07));
  if (marks & PROVEN) proof(pen, look, x + radius * 0.75, y - radius * 0.75, cell * 0.2);
  if (!changed || !doing || !instead || cell < 5) return;
  pen.lineWidth = Math.max(1, cell * 0.11);
  pen.strokeStyle = look.ink;
  way(pen, doing, x, y, cell, radius, false);
  pen.strokeStyle = look.mark;
  way(pen, instead, x, y, cell, radius, true);
}

/** One step of a round; view: the part of the stage that is shown; share: how much of the way to the next step is
    shown, from 0 to 1. */
function drawBoard(canvas, look, round, view, step, share) {
  canvas.style.aspectRatio = `${view.width} / ${view.height}`;
  const width = canvas.clientWidth, cell = width / view.width, height = cell * view.height;
  const grain = cell * round.smallest, pen = sharp(canvas, width, height);
  pen.fillStyle = look.ground;
  pen.fillRect(0, 0, width, height);
  pen.translate(-view.left * cell, -view.top * cell);
  grid(pen, look, round.stage, cell);
  const now = round.at(step), next = round.at(Math.min(step + 1, round.steps)), top = [];
  round.agents.forEach(({ side, body: [w, h], acts }, i) => {
    const slide = (from, to) => (from[i] + (next.marks[i] & ALIVE ? share : 0) * (to[i] - from[i])) * round.stage.unit;
    const x = (slide(now.x, next.x) + w / 2) * cell, y = (slide(now.y, next.y) + h / 2) * cell;
    const radius = Math.max(0.42 * Math.min(w, h) * cell, 1.5), marks = now.marks[i];
    if (!(marks & ALIVE)) return fallen(pen, look[side], x, y, radius, step - round.died[i]);
    agent(pen, look, side, x, y, radius, now.health[i] / 255);
    const doing = acts[now.action[i]], instead = acts[now.without[i]];
    if (doing && doing.kind === "hit" && grain >= 5) {
      pen.strokeStyle = look[side];
      pen.lineWidth = Math.max(1, grain * 0.09);
      line(pen, x, y, x + doing.x * cell, y + doing.y * cell);
    }
    if (marks & ATTACKED) top.push([x, y, grain, radius, marks, now.action[i] !== now.without[i], doing, instead]);
  });
  top.sort((a, b) => a[5] - b[5]).forEach(one => attacked(pen, look, ...one));
}

function grid(pen, look, stage, cell) {
  if (stage.unit === 1 && cell >= 7) {
    pen.strokeStyle = look.grid;
    pen.lineWidth = 1;
    for (let i = 1; i < stage.width; i++) line(pen, i * cell, 0, i * cell, stage.height * cell);
    for (let i = 1; i < stage.height; i++) line(pen, 0, i * cell, stage.width * cell, i * cell);
  }
  pen.fillStyle = look.wall;
  for (const [x, y] of stage.walls) pen.fillRect(x * cell, y * cell, cell + 0.5, cell + 0.5);
}

function fallen(pen, colour, x, y, radius, ago) {
  if (ago >= TRACE) return;
  pen.globalAlpha = 0.7 * (1 - ago / TRACE);
  pen.strokeStyle = colour;
  pen.lineWidth = radius * 0.35;
  const r = radius * 0.6;
  line(pen, x - r, y - r, x + r, y + r);
  line(pen, x - r, y + r, x + r, y - r);
  pen.globalAlpha = 1;
}

/** Curves over the steps. curves: {values, colour, dashed, name}; values: from step 0 on; steps: of the axis. */
function drawChart(canvas, look, title, curves, steps, step) {
  const width = canvas.clientWidth, height = canvas.clientHeight, pen = sharp(canvas, width, height);
  const every = curves.flatMap(curve => [...curve.values]), low = Math.min(...every, 0);
  const high = Math.max(...every, low < 0 ? 0 : 1);
  const left = 40, right = 8, top = 20, bottom = 6;
  const x = i => left + (width - left - right) * i / Math.max(steps, 1);
  const y = v => top + (height - top - bottom) * (high - v) / (high - low);
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = look.faint;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const v of new Set([high, 0, low])) {
    if (v || [high, low].every(end => !end || Math.abs(y(end) - y(0)) > 13)) pen.fillText(Math.round(v), left - 6, y(v));
    pen.strokeStyle = look.grid;
    pen.lineWidth = 1;
    line(pen, left, y(v), width - right, y(v));
  }
  pen.textAlign = "left";
  pen.fillText(title, left, 8);
  for (const { values, colour, dashed } of curves) {
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.setLineDash(dashed ? [5, 4] : []);
    pen.beginPath();
    values.forEach((v, i) => pen.lineTo(x(i), y(v)));
    pen.stroke();
    pen.setLineDash([]);
    const here = Math.min(step, values.length - 1);
    pen.fillStyle = colour;
    disc(pen, x(here), y(values[here]), 3.5);
    pen.fill();
  }
  pen.strokeStyle = look.ink;
  pen.lineWidth = 1;
  line(pen, x(step), top - 4, x(step), height - bottom);
  return place => Math.round((place - left) / (width - left - right) * steps);
}

/** The symbols of the legend, by name, each drawn in the middle of a square. */
const SYMBOLS = {
  own: (pen, look, c) => agent(pen, look, "own", c, c, c * 0.6, 0.5),
  foe: (pen, look, c) => agent(pen, look, "foe", c, c, c * 0.6, 0.5),
  nobody: (pen, look, c) => agent(pen, look, "nobody", c, c, c, 1),
  attacked: (pen, look, c) => symbol(pen, look, c, ATTACKED, false),
  changed: (pen, look, c) => symbol(pen, look, c, ATTACKED, true),
  doing: (pen, look, c) => sample(pen, look.ink, c, { kind: "move", x: 1, y: 0 }, false),
  instead: (pen, look, c) => sample(pen, look.mark, c, { kind: "move", x: 1, y: 0 }, true),
  hit: (pen, look, c) => sample(pen, look.mark, c, { kind: "hit", x: 1, y: 0 }, true),
  proven: (pen, look, c) => symbol(pen, look, c, ATTACKED | PROVEN, false),
  fallen: (pen, look, c) => fallen(pen, look.foe, c, c, c * 0.8, 0),
};

function symbol(pen, look, c, marks, changed) {
  agent(pen, look, "own", c, c, c * 0.55, 1);
  attacked(pen, look, c, c, c * 1.3, c * 0.55, marks, changed, null, null);
}

function sample(pen, colour, c, act, dashed) {
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  way(pen, act, c * 0.3, c, c * 1.3, 0, dashed);
}
