// Builds elements. A text becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (functions) and children: elements, texts, or lists of them; null is none. */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for a drawing. */
export function drawn(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** The element of this id, which the page has from the start. */
export function byId(id) {
  return document.getElementById(id);
}

/** Show these children in place of what an element held. */
export function show(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child != null));
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value != null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child != null));
  return made;
}
