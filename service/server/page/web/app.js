// The page: reads what the server has, asks what the form says, and shows the answers.

import { answerOf, outcomeOf } from "./answer.js";
import { addressOf, ask, hasKey, Problem } from "./api.js";
import { readCatalog } from "./catalog.js";
import { byId, element, show } from "./dom.js";
import { readItem, readTarget, showFaults, showFields, showModels, showOptions, showOthers, showTargets, showTasks } from "./form.js";
import { asksForKey, keyIsRight, listenForKey } from "./key.js";
import { curlLine, pythonLines } from "./lines.js";
import { passportOf } from "./passport.js";

let tasks = [];
let task = null;
let asking = null;
const wording = ask("page/wording.json");

async function start() {
  listenForKey(load);
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    void answer();
  });
  byId("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void answer();
  });
  byId("model").addEventListener("change", chooseModel);
  byId("other").addEventListener("change", showPassports);
  for (const [id, kind] of [["explain", "change"], ["fields", "input"]]) {
    byId(id).addEventListener(kind, () => showTargets(cardOf(byId("model").value)));
  }
  window.addEventListener("hashchange", () => chooseTask(taskOfAddress()));
  await load();
}

async function load() {
  try {
    tasks = await readCatalog();
  } catch (error) {
    complain(error);
    return;
  }
  keyIsRight();
  show(byId("problem"));
  if (tasks.length === 0) {
    complain(new Problem({ title: "No models", detail: "This server has no model that answers.", code: "no_models" }));
    return;
  }
  byId("form").hidden = false;
  showTasks(tasks, chooseTask);
  chooseTask(taskOfAddress());
}

/** The task that the address names behind `#`, so that it can be passed on; else the first. */
function taskOfAddress() {
  return tasks.find((one) => `#${one.endpoint}` === location.hash) ?? tasks[0];
}

function chooseTask(chosen) {
  if (chosen === undefined || chosen === task) return;
  task = chosen;
  history.replaceState(null, "", `#${task.endpoint}`);
  byId("tasks").querySelector(`input[value="${CSS.escape(task.endpoint)}"]`).checked = true;
  showModels(task);
  chooseModel();
}

function chooseModel() {
  asking?.abort();
  const card = cardOf(byId("model").value);
  showOthers(task, card);
  showOptions(card);
  showFields(task, card);
  show(byId("problem"));
  showPassports();
  show(byId("answers"));
  byId("lines").hidden = true;
}

function chosenCards() {
  const names = new Set([byId("model").value, byId("other").value].filter((name) => name !== ""));
  return [...names].map(cardOf);
}

function cardOf(name) {
  return task.models.find((card) => card.name === name);
}

function showPassports() {
  show(byId("passports"), chosenCards().map(passportOf));
}

/** The body of a request for one item; what the server takes to be meant is left out. */
function bodyOf(card, item) {
  const method = byId("explain").value;
  const target = readTarget();
  const short = method === "best" ? true : method;
  const explain = target === null ? short : { ...(method !== "best" && { method }), target };
  const certify = byId("certify").value;
  return {
    inputs: [item],
    ...(card.is_default ? {} : { model: card.name }),
    ...(explain && { explain }),
    ...(certify && { certify }),
  };
}

async function answer() {
  asking?.abort();
  const own = (asking = new AbortController());
  const [item, cards, path] = [readItem(), chosenCards(), `v1/${task.endpoint}`];
  const explained = cards.map((card) => bodyOf(card, item));
  busy(true);
  try {
    // Offsets as scripts of pages count them; shells and Python need not ask for that.
    const asked = explained.map((body) => ask(path, { ...body, offset_unit: "utf16" }, own.signal));
    const [words, ...bodies] = await Promise.all([wording, ...asked]);
    showFaults([]);
    show(byId("problem"));
    showAnswers(item, bodies, cards, words);
    showLines(path, explained[0]);
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  } finally {
    if (asking === own) busy(false);
  }
}

function showAnswers(item, bodies, cards, words) {
  const outcomes = new Set(bodies.map((body) => outcomeOf(body.results[0])));
  const differ = bodies.length > 1 && outcomes.size > 1 ? element("p", { class: "note" }, "The two models disagree.") : null;
  const articles = bodies.map((body, place) => answerOf(item, body, cards[place], words));
  show(byId("answers"), element("h2", { tabindex: "-1" }, "Answer"), differ, element("div", { class: "beside" }, articles));
  byId("answers").querySelector("h2").focus();
}

function showLines(path, body) {
  byId("curl").textContent = curlLine(addressOf(path), body, hasKey());
  byId("python").textContent = pythonLines(addressOf(path), body, hasKey());
  byId("lines").hidden = false;
}

function complain(error) {
  if (!(error instanceof Problem)) throw error;
  if (asksForKey(error)) return;
  const field = byId("form").hidden ? null : showFaults(error.errors);
  show(byId("problem"), element("h2", {}, error.title), element("p", {}, error.message));
  field?.focus();
}

function busy(is) {
  byId("main").setAttribute("aria-busy", String(is));
  byId("ask").textContent = is ? "Asking…" : "Ask";
}

void start();
