// Small plots. Their numbers stand beside them as text, so that they are hidden from screen readers.

import { drawn } from "./dom.js";

/** A bar from 0 to 1. */
export function bar(share) {
  return bars([{ value: share }]);
}

/** Bars from 0 to 1 below each other, each with `value` and perhaps the `error` by which it may be off. */
export function bars(rows) {
  const drawing = rows.map(({ value, error }, place) => {
    const whole = drawn("rect", { class: "all", y: 3 * place, width: 100, height: 2 });
    const filled = drawn("rect", { class: `bar${place}`, y: 3 * place, width: percent(value), height: 2 });
    return [whole, filled, error ? whisker(value - error, value + error, 3 * place + 1) : null];
  });
  const height = 3 * rows.length - 1;
  return drawn("svg", { viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", "aria-hidden": "true", class: `rows${rows.length}` }, drawing);
}

/** A point with its interval, and a tick for what chance gives, on a scale from `low` to `high`. */
export function interval({ value, from, to, chance }, [low, high]) {
  const x = (number) => percent((number - low) / (high - low));
  return drawn(
    "svg",
    { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true", class: "interval" },
    drawn("rect", { class: "all", y: 2.5, width: 100, height: 1 }),
    drawn("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: 6 }),
    drawn("line", { class: "chance", x1: x(chance), x2: x(chance), y1: 0, y2: 6 }),
    drawn("rect", { x: x(from), y: 2, width: Math.max(0.5, x(to) - x(from)), height: 2 }),
    drawn("rect", { class: "point", x: Math.max(0, x(value) - 0.8), y: 0.5, width: 1.6, height: 5 }),
  );
}

function whisker(from, to, y) {
  return drawn("line", { class: "whisker", x1: percent(from), x2: percent(to), y1: y, y2: y });
}

function percent(share) {
  return Math.round(1000 * Math.max(0, Math.min(1, share))) / 10;
}
