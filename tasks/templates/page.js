"use strict";
const OPENINGS = [
  "Hi, I am Noah Brown, my zip is 80279. I want to update my address to 415 Maple Avenue, Apt 203, Denver, CO 80202, USA.",
  "What is the status of my orders? I am Noah Brown, zip 80279.",
  "Which products do you sell?",
];
const HALTED = "You stopped the agent. What it did stays done.";
const KINDS = { orders: "Order", users: "Customer" };
const $ = (id) => document.getElementById(id);
const turns = $("turns");
let state = null; // the conversation as the server told it
let speaking = null; // the bubble that is being filled
let switching = Promise.resolve(); // the change of the model that is under way

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function announce(text) {
  $("announcer").textContent = text;
}

function note(text, wrong = false) {
  $("note").textContent = text;
  $("note").classList.toggle("wrong", wrong);
}

async function call(method, path, body) {
  const asked = { method };
  if (body !== undefined) {
    asked.headers = { "content-type": "application/json" };
    asked.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, asked);
  } catch {
    throw new Error("The page's server does not answer. Start it again: zava up.");
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(told.error || `The server refused this (${answer.status}).`), { status: answer.status });
  }
  return answer;
}

const here = (rest = "") => `/conversations/${encodeURIComponent(state.id)}${rest}`;

// ---- what is shown

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function inShort(text) {
  try {
    const values = JSON.parse(text);
    return Object.entries(values).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ");
  } catch {
    return text;
  }
}

function records(changes) {
  const byRecord = new Map();
  for (const change of changes) byRecord.set(change.record, [...(byRecord.get(change.record) || []), change]);
  return [...byRecord].map(([record, fields]) => {
    const [kind, ...id] = record.split("/");
    const box = make("div", "record");
    box.append(make("h3", "", `${KINDS[kind] || kind} ${id.join("/")}`));
    const list = box.appendChild(make("dl"));
    for (const { field, before, after } of fields) {
      list.append(make("dt", "", field.replaceAll("_", " ").replaceAll(".", " · ")));
      const value = list.appendChild(make("dd"));
      const shown = (one) => (one === null || one === "" ? "(nothing)" : typeof one === "string" ? one : JSON.stringify(one));
      value.append(make("del", "", shown(before)), make("span", "arrow", "→"), make("ins", "", shown(after)));
    }
    return box;
  });
}

function toolCall(step) {
  const invented = step.invented.length > 0;
  const kind = invented ? "invented" : step.refused ? "refused" : "";
  const item = make("li", `called ${kind}`);
  const details = item.appendChild(make("details"));
  const summary = details.appendChild(make("summary"));
  const word = invented ? "made up" : step.refused ? "refused" : "ok";
  summary.append(make("code", "", step.name), make("span", "args", inShort(step.arguments)), make("span", `chip ${kind}`, word));
  const inner = details.appendChild(make("div", "inner"));
  for (const [heading, text] of [["Arguments", step.arguments], ["Result", step.result]]) {
    inner.append(make("h3", "", heading));
    const block = inner.appendChild(make("pre", "", pretty(text)));
    block.tabIndex = 0;
    block.setAttribute("role", "region");
    block.setAttribute("aria-label", `${heading} of ${step.name}`);
  }
  if (invented) item.append(make("p", "made-up", `Nobody gave ${step.invented.join(", ")}.`));
  return item;
}

function showTotal() {
  const boxes = records(state.changes);
  $("changes").replaceChildren(...boxes);
  $("nothing").hidden = boxes.length > 0;
  $("count").textContent = String(state.changes.length);
  $("count").setAttribute("aria-label", `${state.changes.length} fields`);
}

const SHOWN = {
  said: (step) => make("li", "said", step.text),
  spoke: (step) => make("li", "spoke", step.text || "(The agent said nothing.)"),
  model: (step) => make("li", "model", `From here on ${step.model} answers.`),
  called: toolCall,
  changed: (step) => {
    const item = make("li", "changed");
    item.append(...records(step.changes));
    return item;
  },
  failed: (step) => make("li", "failed", step.text),
  stopped: (step) => make("li", "stopped", `The agent was stopped: ${step.text}.`),
  halted: () => make("li", "halted", HALTED),
};
const ANNOUNCED = {
  spoke: (step) => `Agent: ${step.text}`,
  called: (step) => `Tool ${step.name}${step.refused ? ", refused" : ""}`,
  changed: (step) => `The shop changed: ${step.changes.map((one) => one.field).join(", ")}`,
  failed: (step) => step.text,
  stopped: (step) => `The agent was stopped: ${step.text}`,
  halted: () => HALTED,
};

function toEnd() {
  if (turns.children.length) $("scroll").scrollTop = $("scroll").scrollHeight;
}

function show(step) {
  if (step.kind === "heard") {
    speaking = speaking || turns.appendChild(make("li", "spoke", ""));
    speaking.textContent += step.text;
  } else {
    if (speaking) speaking.remove();
    speaking = null;
    turns.append(SHOWN[step.kind](step));
    if (step.kind === "called") $("doing").textContent = "The agent is reading the result";
  }
  $("welcome").hidden = true;
  toEnd();
}

function setBusy(busy) {
  state.busy = busy;
  $("thinking").hidden = !busy;
  $("doing").textContent = "The agent is thinking";
  const inTheWay = document.activeElement === $(busy ? "send" : "stop"); // it is about to be hidden
  $("send").hidden = busy;
  $("stop").hidden = !busy;
  $("stop").disabled = false;
  if (inTheWay) $("words").focus();
  $("bad").disabled = busy || turns.children.length === 0;
  for (const input of $("models").querySelectorAll("input")) input.disabled = busy;
  toEnd();
}

function showModels() {
  const legend = $("models").querySelector("legend");
  $("models").replaceChildren(legend);
  for (const { label, model_id: id } of state.models) {
    const box = $("models").appendChild(make("label"));
    const input = box.appendChild(make("input"));
    Object.assign(input, { type: "radio", name: "model", value: id, checked: id === state.model });
    input.addEventListener("change", () => (switching = guarded(() => switchTo(id))));
    box.append(make("span", "", label), make("small", "", id));
  }
}

function showAll(told) {
  state = told;
  turns.replaceChildren();
  speaking = null;
  $("welcome").hidden = state.told.length > 0;
  showModels();
  state.told.forEach(show);
  showTotal();
  setBusy(state.busy);
  note("");
}

// ---- what a person does

async function guarded(action) {
  try {
    await action();
  } catch (error) {
    note(error.message, true);
    if (error.status === 404) sessionStorage.removeItem("conversation");
  }
}

async function begin() {
  const told = await (await call("POST", "/conversations")).json();
  sessionStorage.setItem("conversation", told.id);
  showAll(told);
}

async function resume() {
  const id = sessionStorage.getItem("conversation");
  if (!id) return begin();
  try {
    showAll(await (await call("GET", `/conversations/${encodeURIComponent(id)}`)).json());
  } catch (error) {
    if (error.status !== 404) throw error;
    return begin();
  }
  if (state.busy) setTimeout(() => guarded(resume), 1000);
}

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const parts = (rest + piece.value).split("\n");
    rest = parts.pop();
    yield* parts.map((part) => JSON.parse(part));
  }
}

function take(step) {
  show(step);
  if (ANNOUNCED[step.kind]) announce(ANNOUNCED[step.kind](step));
  if (step.kind === "changed") {
    const key = (one) => `${one.record} ${one.field}`;
    const known = new Map(state.changes.map((one) => [key(one), one]));
    for (const one of step.changes) {
      const first = known.get(key(one)) || one;
      known.set(key(one), { ...one, before: first.before });
    }
    state.changes = [...known.values()].filter((one) => one.before !== one.after);
    showTotal();
  }
}

async function say(words) {
  await ready; // else a conversation that is just being begun would take the place of this one
  await switching;
  if (!state) await begin();
  const answer = await call("POST", here("/say"), { words });
  note("");
  $("words").value = "";
  grow();
  show({ kind: "said", text: words });
  setBusy(true);
  try {
    for await (const step of lines(answer)) take(step);
  } catch {
    throw new Error("The connection broke; load the page again to see what the agent did.");
  } finally {
    setBusy(false);
    $("words").focus();
  }
}

async function stop() {
  $("stop").disabled = true;
  $("doing").textContent = "The agent is being stopped";
  try {
    await call("POST", here("/stop"), {});
  } finally {
    $("stop").disabled = false;
  }
}

async function switchTo(model) {
  try {
    await call("POST", here("/model"), { model });
  } catch (error) {
    showModels();
    throw error;
  }
  if (model !== state.model && turns.children.length) show({ kind: "model", model });
  state.model = model;
  announce(`${model} answers from here on.`);
}

async function keep() {
  note("Playing it again on a fresh shop …");
  const held = await (await call("POST", here("/replay"), {})).json();
  note(held.sentence);
}

function grow() {
  $("words").style.height = "auto";
  $("words").style.height = `${$("words").scrollHeight + 2}px`;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = $("words").value.trim();
  if (words && !(state && state.busy)) guarded(() => say(words));
});
$("words").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("form").requestSubmit();
  }
});
$("words").addEventListener("input", grow);
$("stop").addEventListener("click", () => guarded(stop));
$("bad").addEventListener("click", () => guarded(keep));
$("again").addEventListener("click", () =>
  guarded(async () => {
    await ready;
    if (state) await call("DELETE", here()).catch(() => {});
    await begin();
    $("words").focus();
  }),
);
for (const opening of OPENINGS) {
  const button = $("openings").appendChild(make("li")).appendChild(make("button", "quiet", opening));
  button.type = "button";
  button.addEventListener("click", () => guarded(() => say(opening)));
}
const wide = matchMedia("(min-width: 860px)");
const fit = () => ($("shop").open = wide.matches);
wide.addEventListener("change", fit);
fit();
new ResizeObserver(toEnd).observe($("scroll"));
const ready = guarded(resume);
