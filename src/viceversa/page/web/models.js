// Descriptions of models as the page needs them: sizes, palette, and the channels of the file to send.
import { colourOf } from "./pixels.js";

const GREYS = [["black", 0], ["dark grey", 64], ["grey", 128], ["light grey", 192], ["white", 255]];
export const LARGEST = 1024;

function hex(value) { return value.toString(16).padStart(2, "0"); }

function hue(index) {  // a distinct colour for a class that only has an index
  const angle = index * 137.508, level = (shift) => {
    const k = (shift + angle / 30) % 12;
    return Math.round(255 * (0.55 - 0.36 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return "#" + [0, 8, 4].map((shift) => hex(level(shift))).join("");
}

export function isLabels(model) { return model.source.kind === "labels"; }

// Fixed palette of a domain as [{name, colour}], or null if any colour is allowed. For label maps with class indices,
// only the number of classes is known, and optionally their names.
export function paletteOf(domain) {
  if (domain.kind === "labels") {
    const { ids } = domain, colours = ids ? Array.from({ length: ids }, (_, index) => hue(index)) : domain.classes;
    return colours.map((colour, index) => ({
      name: domain.class_names?.[index] ?? `Class ${ids ? index : index + 1}`, colour: colour.toLowerCase(),
    }));
  }
  if (domain.channels === 1 || domain.kind === "lab-l") {
    return GREYS.map(([name, value]) => ({ name, colour: "#" + hex(value).repeat(3) }));
  }
  return null;
}

// Reason why the page cannot draw for a model, or "".
export function unsupported(model) {
  const { ids, channels } = model.source;
  if (ids > 256) return `This model takes label maps of ${ids} classes; this page draws at most 256. Use the HTTP API.`;
  if (![1, 3, 4].includes(channels)) return `This model takes images of ${channels} channels, which this page cannot draw. Use the HTTP API.`;
  return "";
}

function trainedSide(model) {
  const sides = [model.trained_size ?? 256].flat().map(Number), { multiple } = model;
  return Math.max(multiple, Math.round(Math.max(...sides) / multiple) * multiple);
}

// Sides of the drawing that the model supports: that of training first.
export function sidesOf(model) {
  const side = trainedSide(model);
  return [1, 2, 4].map((factor) => factor * side).filter((one) => one === side || one <= LARGEST);
}

// Size of an image whose longer side becomes `side`. The other side becomes a multiple of the model if that
// changes it by at most 3 %; else the service pads it.
export function fit(width, height, side, multiple) {
  const scaled = (value) => {
    const exact = (value * side) / Math.max(width, height), near = Math.round(exact / multiple) * multiple;
    return Math.abs(near - exact) <= 0.03 * exact ? near : Math.max(1, Math.round(exact));
  };
  return [scaled(width), scaled(height)];
}

// Values of the file to send: (height, width, channels) of 8 bits.
export function valuesOf(model, image) {
  const { data } = image, { channels, ids } = model.source;
  if (channels === 4) return data;
  const values = new Uint8Array((data.length / 4) * channels);
  const indices = ids
    ? new Map(paletteOf(model.source).map(({ colour }, index) => [colourOf(colour).join(), index])) : null;
  for (let from = 0, to = 0; from < data.length; from += 4, to += channels) {
    const [red, green, blue] = data.subarray(from, from + 3);
    if (channels === 3) values.set([red, green, blue], to);
    else values[to] = indices ? indices.get(`${red},${green},${blue},255`) : Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
  }
  return values;
}

// Replace class indices in an image of a domain by the colours of the classes.
export function showClasses(domain, image) {
  if (!domain.ids) return;
  const colours = paletteOf(domain).map(({ colour }) => colourOf(colour));
  for (let at = 0; at < image.data.length; at += 4) image.data.set(colours[image.data[at]], at);
}
