// The form: tasks, models, samples, the fields of an item, and the options of a request.

import { fieldsFor, samplesFor, spell } from "./catalog.js";
import { byId, element, show } from "./dom.js";

/** A radio button for each task; `choose` is called with the one that is chosen. */
export function showTasks(tasks, choose) {
  const buttons = tasks.map((task) => {
    const about = { type: "radio", name: "task", value: task.endpoint, change: () => choose(task) };
    return element("label", {}, element("input", about), element("span", {}, spell(task.endpoint)));
  });
  show(byId("tasks"), buttons);
}

/** The models of a task. */
export function showModels(task) {
  show(byId("model"), task.models.map((card) => optionOf(card, task)));
}

/** The models that read the same items as the one of this card, to compare it with, if there are any. */
export function showOthers(task, card) {
  const others = task.models.filter((one) => one !== card && one.task === card.task);
  show(byId("other"), element("option", { value: "" }, "no other model"), others.map((one) => optionOf(one, task)));
  byId("beside").hidden = others.length === 0;
}

/** What can be explained by the model of this card. */
export function showOptions(card) {
  const option = (value, text) => element("option", { value }, text);
  const methods = card.explanations.map((method) => option(method, method));
  const best = Object.keys(card.faithfulness).length > 0 ? "by the most faithful method" : "by the usual method";
  show(byId("explain"), option("best", best), methods, option("", "no"));
}

/** The answers that can be explained in place of the one given: labels, kinds, or the choices as they stand. */
export function showTargets(card) {
  const list = byId("fields").querySelector("textarea[data-list]");
  const choices = list ? linesOf(list.value).map((text, place) => [place, `${place}: ${text}`]) : [];
  const targets = list ? choices : card.targets.map((name) => [JSON.stringify(name), name]);
  const chosen = byId("target").value;
  const options = targets.map(([value, text]) => element("option", { value }, text));
  show(byId("target"), element("option", { value: "" }, "the answer that is given"), options);
  byId("target").value = targets.some(([value]) => String(value) === chosen) ? chosen : "";
  byId("aimed").hidden = targets.length < 2 || byId("explain").value === "";
}

/** The answer to explain in place of the one given, or null. */
export function readTarget() {
  const { value } = byId("target");
  return byId("aimed").hidden || value === "" ? null : JSON.parse(value);
}

/** The fields of an item, filled with the first sample, and a button for each sample. */
export function showFields(task, card) {
  const fields = [...fieldsFor(task, card)].map(([name, isList]) => fieldOf(name, isList));
  const samples = samplesFor(task, card);
  show(byId("fields"), fields);
  const fillAndAim = (item) => {
    fillIn(item);
    showTargets(card);
  };
  const buttons = samples.map(({ shows, item }) => element("button", { type: "button", click: () => fillAndAim(item) }, shows));
  show(byId("samples"), buttons);
  if (samples.length > 0) fillIn(samples[0].item);
  byId("target").value = "";
  showTargets(card);
}

/** The item that the fields hold. */
export function readItem() {
  return Object.fromEntries(
    [...byId("fields").querySelectorAll("textarea")].map(({ name, value, dataset }) => [
      name,
      "list" in dataset ? linesOf(value) : value,
    ]),
  );
}

/** Say beside the fields at fault what is wrong with them, or nothing; returns the first of them, or null. */
export function showFaults(errors) {
  let first = null;
  for (const area of byId("fields").querySelectorAll("textarea")) {
    const own = errors.filter(({ pointer }) => pointer.split("/")[3] === area.name);
    const fault = byId(`fault-${area.name}`);
    fault.textContent = own.map((one) => one.detail).join(" ");
    if (own.length === 0) area.removeAttribute("aria-invalid");
    else {
      area.setAttribute("aria-invalid", "true");
      first ??= area;
    }
  }
  return first;
}

function linesOf(text) {
  return text.split("\n").filter((line) => line.trim() !== "");
}

function optionOf(card, task) {
  const isTwin = task.models.some((one) => one.twins.some((twin) => twin.digest === card.digest));
  const name = `${card.name} (${card.method}, ${card.precision})${isTwin ? ", the twin" : ""}`;
  return element("option", { value: card.name }, name);
}

function fieldOf(name, isList) {
  const id = `field-${name}`;
  const hint = isList ? element("span", { class: "hint" }, " (one a line)") : null;
  const about = { id, name, rows: isList ? 4 : 3, dir: "auto", spellcheck: "false", "aria-describedby": `fault-${name}` };
  return element(
    "div",
    { class: "field" },
    element("label", { for: id }, spell(name), hint),
    element("textarea", { ...about, "data-list": isList }),
    element("p", { class: "fault", id: `fault-${name}` }),
  );
}

function fillIn(item) {
  for (const area of byId("fields").querySelectorAll("textarea")) {
    const value = item[area.name] ?? "";
    area.value = Array.isArray(value) ? value.join("\n") : value;
  }
}
