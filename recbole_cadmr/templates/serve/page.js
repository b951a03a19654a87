"use strict";
// The page of the service. What comes from the data is only ever set as text, never as markup.

const byId = (id) => document.getElementById(id);
const STORED = "recbole_cadmr.page", KEY = "recbole_cadmr.key";
const PAUSE = 250; // milliseconds without a change after which a list is asked for
const state = { models: [], history: [], asked: 0 };

function make(tag, properties = {}, ...children) {
  const { attributes = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

async function ask(path, body) {
  const key = sessionStorage.getItem(KEY), headers = key ? { "X-API-Key": key } : {};
  if (body) headers["Content-Type"] = "application/json";
  let response, answer;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
    answer = await response.json();
  } catch {
    throw new Error("the service does not answer");
  }
  if (response.ok) return answer;
  if (response.status === 401) {
    sessionStorage.removeItem(KEY);
    byId("key-form").hidden = false;
    byId("key").focus();
  }
  throw new Error(answer.error);
}

function query(values) {
  return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined)).toString();
}

function later(act) {
  let timer = 0;
  return (...values) => { clearTimeout(timer); timer = setTimeout(() => act(...values), PAUSE); };
}

const titleOf = (item) => item.title || item.item;
// A text of the data keeps its direction to itself, so that what is right-to-left does not turn the figures beside it.
const alone = (text) => make("bdi", { textContent: text });

function picture(item, isSmall) {
  const tile = () => make("div", { className: "picture", attributes: { "aria-hidden": "true" } },
    isSmall ? titleOf(item).slice(0, 1).toUpperCase() : titleOf(item).slice(0, 60));
  if (!item.picture) return tile();
  const image = make("img", { className: "picture", src: item.picture, alt: "", loading: "lazy", width: 84, height: 84 });
  image.addEventListener("error", () => image.replaceWith(tile()));
  return image;
}

function small(item, button = null) {
  const id = item.title ? make("small", { textContent: ` ${item.item}` }) : null;
  return make("div", { className: "small" }, picture(item, true), make("span", { className: "text" }, alone(titleOf(item)), id), button);
}

// A text field with suggestions: arrows choose one, Enter takes it, Escape closes the list.
function combo(input, list, suggest, show, take) {
  let options = [], active = -1, turn = 0;
  const close = () => {
    active = -1;
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (place) => {
    active = place;
    [...list.children].forEach((option, index) => option.setAttribute("aria-selected", String(index === active)));
    const option = list.children[active];
    if (option) {
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  };
  const choose = (place) => { const chosen = options[place]; close(); take(chosen); };
  const open = async () => {
    const mine = ++turn;
    let found = [];
    try {
      found = await suggest(input.value.trim());
    } catch (error) {
      tell(error.message, true);
      return;
    }
    if (mine !== turn || document.activeElement !== input) return;
    options = found;
    list.replaceChildren(...options.map((option, place) => {
      const line = make("li", { id: `${list.id}-${place}`, attributes: { role: "option", "aria-selected": "false" } }, show(option));
      line.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(place); });
      return line;
    }));
    list.hidden = !options.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    mark(-1);
  };
  const openLater = later(open);
  input.addEventListener("input", () => { options = []; close(); openLater(); });
  input.addEventListener("focus", () => { input.select(); open(); });
  input.addEventListener("blur", () => { turn++; close(); });
  input.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) {
      event.preventDefault();
      if (list.hidden) open();
      else mark((active + steps[event.key] + options.length + (active < 0 && event.key === "ArrowUp")) % options.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (active < 0) open().then(() => (options.length ? choose(0) : take(null)));
      else choose(active);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    }
  });
}

function tell(sentence, isError = false) {
  byId("status").textContent = sentence;
  byId("status").classList.toggle("error", isError);
}

const who = () => document.querySelector("input[name=who]:checked").value;
const stock = () => [...new Set(byId("stock").value.split("\n").filter((id) => id.trim()))];
const chosenModels = () => [byId("first").value, byId("second").value].filter((name) => name !== "");
const cardOf = (name) => state.models.find((model) => model.name === name);

function person() {
  if (who() === "history") return state.history.length ? { history: state.history.map((item) => item.item) } : null;
  const user = byId("user").value.trim();
  return user ? { user } : null;
}

function keep() {
  try {
    localStorage.setItem(STORED, JSON.stringify({ stock: byId("stock").value, history: state.history }));
  } catch { /* a browser that keeps nothing */ }
}

function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORED)) || {};
    byId("stock").value = kept.stock || "";
    state.history = Array.isArray(kept.history) ? kept.history : [];
  } catch { /* nothing is kept, or something else */ }
}

function showHistory(focus = -1) {
  const lines = state.history.map((item, place) => {
    const button = make("button", { type: "button", className: "plain", textContent: "Remove", attributes: { "aria-label": `Remove ${titleOf(item)}` } });
    button.addEventListener("click", () => { state.history.splice(place, 1); showHistory(place); refresh(); });
    return make("li", {}, small(item, button));
  });
  byId("history").replaceChildren(...lines);
  byId("no-history").hidden = byId("clear").hidden = !lines.length;
  byId("no-history").hidden = Boolean(lines.length);
  if (focus >= 0) (lines[Math.min(focus, lines.length - 1)]?.querySelector("button") || byId("search")).focus();
  keep();
}

function add(item) {
  if (!state.history.some((other) => other.item === item.item)) state.history.push(item);
  showHistory();
}

async function showHas(user, model) {
  const has = byId("has");
  has.hidden = true;
  try {
    const { items, total } = await ask(`v1/history?${query({ user, model, k: 100 })}`);
    has.hidden = false;
    has.querySelector("summary").textContent = `What this person has (${total})`;
    has.querySelector("ul").replaceChildren(...items.map((item) => make("li", {}, small(item))));
  } catch { /* the list says what is wrong */ }
}

// What a score is made of, in the words of the page.
function partOf({ path, modality }) {
  if (path === "autoencoder") return "behaviour";
  if (path.startsWith("content") || path === "direct") return modality || "content";
  if (path === "uniform attention") return "the same for every item";
  return modality ? `${path} (${modality})` : path;
}

const figure = (value) => (Math.abs(value) >= 100 ? String(Math.round(value)) : value.toPrecision(2).replace("-", "−"));

function why(explained) {
  const most = Math.max(...explained.chosen.map((chosen) => Math.abs(chosen.contribution)), 1e-12);
  const named = explained.chosen.filter((chosen) => chosen.contribution > 0).slice(0, 3).map((chosen) => {
    const fill = make("span");
    fill.style.width = `${(100 * chosen.contribution) / most}%`;
    return make("li", {}, make("span", { textContent: titleOf(chosen) }),
      make("span", { className: "bar", title: figure(chosen.contribution), attributes: { "aria-hidden": "true" } }, fill));
  });
  const sums = new Map();
  for (const path of explained.paths) sums.set(partOf(path), (sums.get(partOf(path)) || 0) + path.contribution);
  const parts = [...sums].filter(([, value]) => value !== 0);
  const positive = parts.reduce((sum, [, value]) => sum + Math.max(value, 0), 0);
  const bar = make("div", { className: "bar", attributes: { "aria-hidden": "true" } });
  const legend = make("div", { className: "legend" });
  parts.forEach(([name, value], place) => {
    const colour = `part-${Math.min(place, 5)}`;
    if (value > 0 && positive > 0) {
      const fill = make("span", { className: colour });
      fill.style.width = `${(100 * value) / positive}%`;
      bar.append(fill);
    }
    legend.append(make("span", {}, make("i", { className: value > 0 ? colour : "" }), `${name} ${figure(value)}`));
  });
  return make("div", { className: "why" },
    named.length ? make("span", { textContent: "Because of" }) : make("span", { textContent: "No item of the history speaks for it alone." }),
    named.length ? make("ul", {}, ...named) : null,
    make("div", { className: "paths" }, bar, legend));
}

function similarButton(item, model, place) {
  const button = make("button", { type: "button", className: "plain", textContent: "Similar items", attributes: { "aria-expanded": "false", "aria-label": `Items similar to ${titleOf(item)}` } });
  button.addEventListener("click", async () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    place.replaceChildren();
    if (isOpen) return;
    try {
      const { items } = await ask(`v1/similar?${query({ item: item.item, k: 5, model })}`);
      place.replaceChildren(make("ul", { className: "small-items" }, ...items.map((other) => make("li", {}, small(other)))));
      if (!items.length) place.textContent = "None.";
    } catch (error) {
      place.textContent = error.message;
    }
  });
  return button;
}

function addButton(item) {
  const button = make("button", { type: "button", className: "plain", textContent: "Has it", attributes: { "aria-label": `Add ${titleOf(item)} to the chosen items` } });
  button.addEventListener("click", () => {
    add(item);
    byId("search").focus();
    refresh();
  });
  return button;
}

function line(item, place, model, others) {
  const there = others.findIndex((other) => other.item === item.item);
  const similar = make("div", { className: "similar" });
  const both = others.length ? ` · other list: ${there < 0 ? "–" : there + 1}` : "";
  const actions = make("div", { className: "actions" }, similarButton(item, model, similar), who() === "history" ? addButton(item) : null);
  const body = make("div", {},
    make("div", { className: "title" }, make("span", { className: "number", textContent: `${place + 1}` }), alone(titleOf(item))),
    make("small", {}, alone(item.item), ` · score ${figure(item.score)}${both}`),
    make("div", { className: "reasons" }), actions, similar);
  const row = make("li", {}, picture(item, false), body);
  row.dataset.item = item.item;
  return row;
}

async function explainAll(column, name, list, whom, weight) {
  if (!cardOf(name)?.explains || list.source !== "model" || !list.items.length) return;
  const items = list.items.map((item) => item.item);
  try {
    const { explanations } = await ask("v1/explain", { ...whom, items, model: name, ...weight });
    const rows = new Map([...column.querySelectorAll("li[data-item]")].map((row) => [row.dataset.item, row]));
    for (const told of explanations) rows.get(told.item)?.querySelector(".reasons").replaceChildren(why(told));
  } catch (error) {
    column.querySelector("p").textContent = `Why is not known: ${error.message}`;
  }
}

function columnOf(name, answer, others) {
  const list = answer.lists[0], card = cardOf(name);
  const kind = card && card.model !== name ? `${card.model}, ` : "";
  const badge = list.source === "popular" ? make("span", { className: "badge", textContent: "most popular: nothing is known about this person" }) : null;
  return make("section", {}, make("h3", { textContent: name }),
    make("p", { className: "hint", textContent: `${kind}version ${answer.version.slice(0, 12)}` }), badge,
    make("ol", { className: "items", attributes: { "aria-label": `Recommendations of ${name}` } },
      ...list.items.map((item, place) => line(item, place, name, others))));
}

async function show() {
  const turn = ++state.asked, lists = byId("lists"), whom = person(), names = chosenModels();
  if (!names.length) return;
  keep();
  if (!whom) {
    lists.replaceChildren();
    tell(who() === "user" ? "Choose a person." : "Choose an item or more.");
    return;
  }
  if (whom.user) showHas(whom.user, names[0]);
  const weight = weighs() && Number(byId("weight").value) !== 1 ? { content_weight: Number(byId("weight").value) } : {};
  const body = { ...whom, k: Math.min(Number(byId("k").value), ...names.map((name) => cardOf(name).items)), diversity: Number(byId("diversity").value), exclude: stock(), ...weight };
  lists.classList.add("busy");
  try {
    const answers = await Promise.all(names.map((model) => ask("v1/recommend", { ...body, model })));
    if (turn !== state.asked) return;
    const found = answers.map((answer) => answer.lists[0]);
    const columns = answers.map((answer, place) => columnOf(names[place], answer, found[1 - place]?.items || []));
    lists.replaceChildren(make("div", { className: columns.length > 1 ? "lists two" : "lists" }, ...columns));
    const counts = found.map((list, place) => `${list.items.length} by ${names[place]}`).join(", ");
    const unknown = answers[0].unknown_items.length;
    tell(`${found.length > 1 ? "Items: " : ""}${counts}${found.length > 1 ? "" : " for " + (whom.user || "this history")}.${unknown ? ` ${unknown} ids name no item.` : ""}`);
    columns.forEach((column, place) => explainAll(column, names[place], found[place], whom, weight));
  } catch (error) {
    if (turn !== state.asked) return;
    lists.replaceChildren();
    tell(`${error.message}.`, true);
  } finally {
    if (turn === state.asked) lists.classList.remove("busy");
  }
}

const refresh = later(show);
const weighs = () => chosenModels().every((name) => cardOf(name)?.weighs_content);

function showControls() {
  for (const name of ["user", "history"]) byId(`of-${name}`).hidden = who() !== name;
  byId("weight").disabled = !weighs();
  byId("weight-hint").textContent = weighs() ? "1 is as trained, 0 leaves content out." : "A model that is shown has no weight of content.";
  for (const name of ["weight", "diversity"]) byId(`${name}-value`).textContent = byId(name).value;
}

async function begin() {
  try {
    const { models } = await ask("health");
    state.models = models;
  } catch (error) {
    tell(`${error.message}.`, true);
    return;
  }
  byId("served").textContent = state.models.map((model) =>
    `${model.name}: ${model.model === model.name ? "" : model.model + ", "}${model.items.toLocaleString("en")} items, ${model.users.toLocaleString("en")} people`).join(" · ");
  const names = state.models.map((model) => model.name);
  byId("first").replaceChildren(...names.map((name) => new Option(name)));
  byId("second").replaceChildren(new Option("none", ""), ...names.map((name) => new Option(name)));
  byId("second").value = names[1] || "";
  byId("models").hidden = names.length < 2;
  recall();
  showHistory();
  showControls();
  if (!byId("user").value) {
    try {
      byId("user").value = (await ask(`v1/users?${query({ k: 1, model: names[0] })}`)).users[0] || "";
    } catch (error) {
      tell(`${error.message}.`, true);
      return;
    }
  }
  show();
}

combo(byId("user"), byId("user-options"),
  async (text) => (await ask(`v1/users?${query({ q: text, k: 8, model: byId("first").value })}`)).users,
  (user) => make("span", { textContent: user }),
  (user) => { if (user !== null) byId("user").value = user; show(); });
combo(byId("search"), byId("search-options"),
  async (text) => (text ? (await ask(`v1/search?${query({ q: text, k: 8, model: byId("first").value })}`)).items : []),
  (item) => small(item),
  (item) => { if (item) { byId("search").value = ""; add(item); show(); } });
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("controls").addEventListener("input", (event) => {
  showControls();
  if (!["user", "search"].includes(event.target.id)) refresh();
});
byId("clear").addEventListener("click", () => { state.history = []; showHistory(); byId("search").focus(); show(); });
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId("key").value.trim());
  byId("key").value = "";
  byId("key-form").hidden = true;
  begin();
});
if (matchMedia("(max-width: 859px)").matches) for (const group of document.querySelectorAll("details.group")) group.open = false;
begin();
