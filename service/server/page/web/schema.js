// Schemas of the OpenAPI document as tables: the fields with their types, limits and meanings.

import { element } from "./dom.js";

const LIMITS = {
  minimum: "at least",
  exclusiveMinimum: "more than",
  maximum: "at most",
  exclusiveMaximum: "less than",
  minLength: "length at least",
  maxLength: "length at most",
  minItems: "entries at least",
  maxItems: "entries at most",
  pattern: "as",
};

/** The id of the element that shows a schema. */
export function placeOf(name) {
  return `schema-${name}`;
}

/** A schema with its own name, its meaning and its fields. */
export function schemaOf(name, schema) {
  return element(
    "details",
    { class: "card", id: placeOf(name) },
    element("summary", {}, element("code", {}, name)),
    said(schema.description),
    schema.properties ? null : element("p", {}, typeOf(schema)),
    tablesOf(schema),
  );
}

/** The type of a schema in a few words, with links to the schemas that it names. */
export function typeOf(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return [element("a", { href: `#${placeOf(name)}` }, name)];
  }
  const several = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (several) return join(several.map(typeOf), " or ");
  if ("const" in schema) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" or ")];
  if (schema.prefixItems) return ["list of ", ...join(schema.prefixItems.map(typeOf), " and ")];
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items ?? {})];
  if (schema.type === "object" && schema.additionalProperties instanceof Object) {
    return ["object of ", ...typeOf(schema.additionalProperties)];
  }
  return [schema.type ?? "anything"];
}

/** A table of fields for a schema, and for each of its forms that has some. */
function tablesOf(schema) {
  const forms = [schema, ...(schema.anyOf ?? [])].filter((form) => form.properties);
  return forms.map((form) => {
    const required = new Set(form.required);
    const fields = Object.entries(form.properties);
    // What must be given comes first.
    fields.sort(([one], [other]) => required.has(other) - required.has(one));
    const rows = fields.map(([name, field]) => rowOf(name, field, required.has(name)));
    const head = element("tr", {}, ["field", "type", "meaning"].map((title) => element("th", { scope: "col" }, title)));
    const table = element("table", {}, element("thead", {}, head), element("tbody", {}, rows));
    return element("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Fields" }, table);
  });
}

function rowOf(name, field, isRequired) {
  const limits = [field, field.items ?? {}, ...(field.anyOf ?? [])].flatMap((one) =>
    Object.entries(LIMITS).filter(([limit]) => limit in one).map(([limit, words]) => `${words} ${one[limit]}`),
  );
  const left = "default" in field ? `default ${JSON.stringify(field.default)}` : isRequired ? null : "may be left out";
  const notes = [...limits, left].filter((note) => note !== null).join("; ");
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, element("code", {}, name)),
    element("td", {}, typeOf(field), notes ? element("span", { class: "hint" }, ` ${notes}`) : null),
    element("td", {}, field.description ?? ""),
  );
}

function said(text) {
  return text ? element("p", {}, text) : null;
}

function join(lists, between) {
  return lists.flatMap((list, place) => (place === 0 ? list : [between, ...list]));
}
