"use strict";
// Shows what /events tells. Whatever comes from there is put in as text, never as markup: names are written by others.

const STATES = ["running", "stuck", "failed", "succeeded"];
const SPANS = [240, 1200, 3600, 14400, 86400];
const KEPT = 1500;         // swaps in memory
const ROWS = 40;           // swaps shown of one host
const SILENCE = 25000;     // ms after which the connection counts as lost: a beat comes every 10 s
const AGAIN = [1000, 2000, 4000, 8000];
const SAID_EVERY = 4000;   // ms between two announcements
const FIELDS = [
  ["state", "State"], ["host", "Host"], ["instance", "Instance"], ["old_volume_id", "Old volume"],
  ["new_volume_id", "New volume"], ["effective_volume_id", "Volume in use"], ["started_at", "Start"],
  ["finished_at", "End"], ["duration", "Duration"], ["running_for", "Running for"], ["fault", "Fault"],
  ["inferred", "Inferred from"], ["late", "Ended late"], ["project_id", "Project"], ["request_id", "Request"],
  ["global_request_id", "Caller's request"], ["source", "Source"], ["first_seen", "First heard"],
  ["last_seen", "Last heard"], ["deaf", "Not listened"], ["evidence", "Notifications"],
];

const at = (id) => document.getElementById(id);
const make = (name, className = "", text = "") => {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
};
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

let swaps = new Map();
let counts = {};
let ahead = 0;             // ms that the server's clock is ahead of ours
let heard = 0;             // when anything came last
let connected = false;
let failures = 0;
let source = null;
let again = 0;
let trouble = { deaf: [], notes: [] };
let shown = null;          // id of the swap in the dialog
const hosts = new Map();
const rows = new Map();
const pressed = new Set();

const now = () => Date.now() + ahead;
const open = (swap) => swap.state === "running" || swap.state === "stuck";
const begin = (swap) => Date.parse(swap.started_at ?? swap.first_seen);
const end = (swap) => open(swap) ? Math.max(now(), begin(swap)) : Date.parse(swap.finished_at ?? swap.last_seen);

function clock(text, seconds = true) {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return "?";
  const iso = moment.toISOString();
  const today = iso.slice(0, 10) === new Date(now()).toISOString().slice(0, 10);
  return today ? iso.slice(11, seconds ? 19 : 16) : `${iso.slice(5, 10)} ${iso.slice(11, 16)}`;
}

function lasting(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const rest = seconds % 3600;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}:${two(rest / 60)}:${two(seconds % 60)}`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

function time(swap) {
  if (open(swap)) return lasting(Math.max(0, (now() - begin(swap)) / 1000));
  return swap.duration === null ? "?" : lasting(Math.max(0, swap.duration));
}

function why(swap) {
  const reasons = [swap.inferred && `inferred: ${swap.inferred}`, swap.fault];
  if (swap.late) reasons.push("it ended late");
  if (swap.deaf.length && swap.state !== "succeeded") reasons.push("nobody listened all the time: its end may have been missed");
  return reasons.filter(Boolean).join("; ");
}

// ---- what comes

function connect() {
  source?.close();
  clearTimeout(again);
  heard = Date.now();
  source = new EventSource("events");
  source.addEventListener("snapshot", (message) => { takeSnapshot(take(message)); });
  source.addEventListener("swap", (message) => { takeSwap(take(message)); });
  source.addEventListener("beat", take);
  source.onerror = lose;
}

function take(message) {
  const told = JSON.parse(message.data);
  heard = Date.now();
  ahead = Date.parse(told.now) - heard;
  counts = told.counts;
  trouble = told;
  if (!connected && failures > 0) say("Connected again");
  connected = true;
  failures = 0;
  draw();
  return told;
}

function lose() {
  source.close();
  if (connected) say("The connection is lost");
  connected = false;
  clearTimeout(again);
  again = setTimeout(connect, AGAIN[Math.min(failures, AGAIN.length - 1)] * (0.75 + Math.random() / 2));
  failures += 1;
  draw();
}

function takeSnapshot(told) {
  const focused = swaps.get(Number(document.activeElement?.dataset.id));
  swaps = new Map(told.swaps.map((swap) => [swap.id, swap]));
  for (const id of [...rows.keys()]) dropRow(id);
  if (shown !== null) at("details").close();
  paint();
  const same = focused && told.swaps.find((swap) => ["instance", "old_volume_id", "new_volume_id", "request_id"]
    .every((name) => swap[name] === focused[name]));
  if (same) rows.get(same.id)?.button.focus();
}

function takeSwap(told) {
  for (const id of told.gone) swaps.delete(id);
  const before = swaps.get(told.swap.id);
  swaps.delete(told.swap.id);
  swaps.set(told.swap.id, told.swap);
  if (swaps.size > KEPT) {
    const oldest = [...swaps.values()].find((swap) => !open(swap)) ?? swaps.values().next().value;
    swaps.delete(oldest.id);
  }
  const { state, instance, host } = told.swap;
  if (state !== before?.state && (state === "failed" || state === "stuck")) {
    say(`${state === "failed" ? "Failed" : "Stuck"}: the swap of instance ${instance} on ${host ?? "an unknown host"}`);
  }
}

// ---- what is said to those who listen: only what is wrong, and not too often

let sayings = [];
let sayTimer = 0;

function say(text) {
  sayings.push(text);
  sayTimer ||= setTimeout(() => {
    const more = sayings.length - 3;
    at("said").textContent = sayings.slice(0, 3).join(". ") + (more > 0 ? `. And ${more} more` : "");
    sayings = [];
    sayTimer = 0;
  }, connected ? SAID_EVERY / 4 : 0);
}

// ---- what is shown

let drawing = 0;

function draw() {
  drawing ||= setTimeout(paint, 100);
}

function wanted(swap, text) {
  if (pressed.size && !pressed.has(swap.state)) return false;
  return !text || [swap.host, swap.instance, swap.old_volume_id, swap.new_volume_id, swap.request_id,
    swap.global_request_id, swap.project_id].some((value) => value?.toLowerCase().includes(text));
}

function paint() {
  clearTimeout(drawing);
  drawing = 0;
  paintHead();
  const text = at("find").value.trim().toLowerCase();
  const found = [...swaps.values()].filter((swap) => wanted(swap, text));
  const byHost = new Map();
  for (const swap of found) {
    const name = swap.host ?? "";
    byHost.has(name) ? byHost.get(name).push(swap) : byHost.set(name, [swap]);
  }
  for (const [name, host] of hosts) {
    if (!byHost.has(name)) {
      host.body.remove();
      hosts.delete(name);
    }
  }
  const table = document.querySelector("table");
  const kept = new Set();
  let place = table.tHead;
  for (const name of [...byHost.keys()].sort()) {
    const host = hosts.get(name) ?? newHost(name);
    if (place.nextSibling !== host.body) place.after(host.body);
    place = host.body;
    paintHost(host, byHost.get(name), kept);
  }
  for (const id of [...rows.keys()]) if (!kept.has(id)) dropRow(id);
  const none = at("none");
  none.hidden = found.length > 0;
  write(none, swaps.size ? "No swap is as asked for." : connected ? "No swap has been heard of yet." : "Nothing has been heard yet.");
  paintBars();
  if (shown !== null && swaps.has(shown)) paintDetails(swaps.get(shown));
}

function paintHead() {
  for (const state of STATES) write(document.querySelector(`.states [data-state="${state}"] b`), String(counts[state] ?? 0));
  const wrong = [...trouble.deaf, ...trouble.notes].join("\n");
  const link = at("link");
  link.dataset.is = connected ? (trouble.deaf.length ? "deaf" : "live") : "away";
  write(at("link-text"), !connected
    ? (failures || swaps.size ? `Not connected, trying again${swaps.size ? `; this is from ${clock(heard + ahead)} UTC` : ""}` : "Connecting…")
    : trouble.deaf.length ? "Not all swaps are heard" : "Live");
  at("trouble").hidden = !connected || !wrong;
  write(at("trouble"), wrong);
  document.body.dataset.connected = connected;
  const bad = [["stuck", counts.stuck], ["failed", counts.failed]].filter(([, count]) => count).map(([name, count]) => `${count} ${name}`);
  document.title = `${connected ? "" : "(not connected) "}${bad.length ? `${bad.join(", ")} – ` : ""}Volume swaps`;
}

function newHost(name) {
  const body = make("tbody");
  const head = make("tr", "host");
  const title = make("th", "", name || "Host not told");
  title.scope = "rowgroup";
  title.colSpan = 6;
  const summary = make("small");
  title.append(summary);
  head.append(title);
  const more = make("tr", "more");
  const cell = make("td");
  cell.colSpan = 6;
  more.append(cell);
  body.append(head);
  const host = { body, head, summary, more, cell };
  hosts.set(name, host);
  return host;
}

function paintHost(host, list, kept) {
  // what has no end comes first where there is no room for all
  const first = list.sort((one, other) => open(other) - open(one) || begin(other) - begin(one) || other.id - one.id).slice(0, ROWS);
  first.sort((one, other) => begin(other) - begin(one) || other.id - one.id);
  const told = STATES.map((state) => [list.filter((swap) => swap.state === state).length, state]);
  write(host.summary, told.filter(([count]) => count).map(([count, state]) => `${count} ${state}`).join(", "));
  let place = host.head;
  for (const swap of first) {
    const row = rows.get(swap.id) ?? newRow(swap.id);
    kept.add(swap.id);
    if (place.nextSibling !== row.node) place.after(row.node);
    place = row.node;
    paintRow(row, swap);
  }
  if (list.length > first.length) {
    write(host.cell, `${list.length - first.length} more of this host are not shown: press a state, or give an id to find them.`);
    place.after(host.more);
  } else {
    host.more.remove();
  }
}

function newRow(id) {
  const node = make("tr");
  const [state, instance, volumes, start, duration, line] =
    ["state", "instance", "volumes", "start", "time", "line"].map((name) => make("td", name));
  const label = make("span", "word");
  const mark = make("span", "mark");
  mark.setAttribute("aria-hidden", "true");
  const word = make("span");
  label.append(mark, word);
  state.append(label);
  const button = make("button", "id");
  button.type = "button";
  button.dataset.id = id;
  button.setAttribute("aria-haspopup", "dialog");
  instance.append(button);
  const track = make("div", "track");
  track.setAttribute("aria-hidden", "true");
  const bar = make("div", "bar");
  track.append(bar);
  const fault = make("p", "fault");
  line.append(track, fault);
  node.append(state, instance, volumes, start, duration, line);
  const row = { node, word, button, volumes, start, duration, bar, fault };
  rows.set(id, row);
  return row;
}

function dropRow(id) {
  rows.get(id).node.remove();
  rows.delete(id);
}

function short(id) {
  return id.length > 13 ? `${id.slice(0, 8)}…` : id;
}

function paintRow(row, swap) {
  if (row.swap === swap) return;
  row.swap = swap;
  row.node.dataset.state = swap.state;
  write(row.word, swap.state);
  write(row.button, short(swap.instance));
  row.button.title = swap.instance;
  row.button.setAttribute("aria-label", `${swap.instance}, details`);
  write(row.volumes, `${short(swap.old_volume_id)} → ${short(swap.new_volume_id)}`);
  row.volumes.title = `${swap.old_volume_id} → ${swap.new_volume_id}`;
  write(row.start, swap.started_at === null ? "?" : clock(swap.started_at));
  write(row.fault, why(swap));
  row.fault.title = why(swap);
  row.fault.hidden = !why(swap);
}

function span() {
  const chosen = Number(at("span").value);
  if (chosen) return chosen;
  const latest = [...rows.values()].map((row) => row.swap).filter((swap) => swap.state !== "stuck")
    .sort((one, other) => open(other) - open(one) || end(other) - end(one));
  const oldest = latest.filter((swap, number) => open(swap) || number < 30).map(begin);
  const needed = (now() - Math.min(now(), ...oldest)) / 1000;
  return SPANS.find((seconds) => seconds >= needed) ?? SPANS.at(-1);
}

function paintBars() {
  const width = span() * 1000;
  const right = now();
  const left = right - width;
  for (const { swap, bar, duration } of rows.values()) {
    const from = Math.min(Math.max((begin(swap) - left) / width, 0), 1);
    const to = Math.min(Math.max((end(swap) - left) / width, 0), 1);
    bar.style.left = `${from * 100}%`;
    bar.style.width = `${(to - from) * 100}%`;
    bar.dataset.from = end(swap) < left ? "earlier" : begin(swap) < left ? "before" : "within";
    write(duration, time(swap));
  }
  paintAxis(width);
}

function paintAxis(width) {
  const axis = at("axis");
  const unit = width >= 7200000 ? [3600000, "h"] : [60000, "min"];
  const ticks = [1, 0.75, 0.5, 0.25].map((part) => `−${Number((width * part / unit[0]).toFixed(2))} ${unit[1]}`);
  const labels = [...ticks, "now"];
  while (axis.children.length < labels.length) {
    const label = make("span");
    label.style.left = `${axis.children.length * 25}%`;
    axis.append(label);
  }
  labels.forEach((label, number) => { write(axis.children[number], label); });
}

function paintDetails(swap) {
  const list = at("details-list");
  if (list.swap === swap) return; // whoever marks a text there keeps it marked
  list.swap = swap;
  const parts = [];
  for (const [name, label] of FIELDS) {
    const value = swap[name];
    if (value === null || value === false || value.length === 0) continue;
    parts.push(make("dt", "", label), make("dd", "", readable(name, value)));
  }
  list.replaceChildren(...parts);
}

function moment(text) {
  return text.replace("T", " ").replace(/\.\d+/, "").replace("+00:00", "Z");
}

function readable(name, value) {
  if (name === "duration" || name === "running_for") return lasting(value);
  if (name === "deaf") return value.map((span) => span.map(moment).join(" to ")).join("\n");
  if (name.endsWith("_at") || name.endsWith("_seen")) return moment(value);
  if (Array.isArray(value)) return value.join("\n");
  return value === true ? "yes" : String(value);
}

// ---- what people do

document.querySelector("table").addEventListener("click", (event) => {
  const id = Number(event.target.closest("button.id")?.dataset.id);
  if (!swaps.has(id)) return;
  shown = id;
  paintDetails(swaps.get(id));
  at("details").showModal();
});
at("details").addEventListener("close", () => {
  rows.get(shown)?.button.focus();
  shown = null;
});
for (const button of document.querySelectorAll(".states button")) {
  button.addEventListener("click", () => {
    const { state } = button.dataset;
    pressed.delete(state) || pressed.add(state);
    button.setAttribute("aria-pressed", String(pressed.has(state)));
    paint();
  });
}
at("find").addEventListener("input", paint);
at("span").addEventListener("change", paint);
setInterval(() => {
  if (connected && Date.now() - heard > SILENCE) lose();
  paintBars();
}, 1000);
connect();
