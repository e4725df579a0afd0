// A picture with tools and an undo history.
import { drawSegment, fillArea } from "./pixels.js";

const HISTORY_BYTES = 96e6;
const SIMILAR = 64;  // of a channel: the bucket also fills the light part of smooth edges

export class Drawing {
  // `changed` is called after each completed change, also by undo and redo.
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.changed = changed;
    this.stroke = null;
    this.hard = false;
  }

  get image() { return this.state.image; }
  get blank() { return this.state.blank; }

  // Start with an empty picture and an empty history.
  start(width, height, background, hard) {
    this.past = [];
    this.future = [];
    this.background = background;
    this.hard = hard;
    this.state = null;
    this.clear(width, height);
  }

  clear(width = this.canvas.width, height = this.canvas.height) {
    const image = new ImageData(width, height);
    for (let at = 0; at < image.data.length; at += 4) image.data.set(this.background, at);
    this.replace({ image, blank: true });
  }

  // Replace the picture: {image, blank, original}, where `original` is a larger version of the image.
  replace(state) {
    if (this.state) this.past.push(this.state);
    const bytes = 4 * state.image.width * state.image.height;
    this.past.splice(0, this.past.length - Math.max(4, Math.floor(HISTORY_BYTES / bytes)));
    this.future = [];
    this.show(state);
  }

  show(state) {
    this.stroke = null;
    this.state = state;
    const { width, height } = state.image;
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.context.putImageData(state.image, 0, 0);
    this.changed();
  }

  undo() { this.step(this.past, this.future); }
  redo() { this.step(this.future, this.past); }

  step(from, to) {
    if (!from.length) return;
    to.push(this.state);
    this.show(from.pop());
  }

  // A stroke: tool, colour and width are those at its start.
  begin(point, { tool, colour, width }) {
    this.stroke = { tool, colour: tool === "eraser" ? this.background : colour, width, from: point };
    if (tool === "bucket") this.fill(point);
    else this.segment(point, point);
  }

  extend(point) {
    if (!this.stroke || this.stroke.tool === "bucket") return;
    if (this.stroke.tool === "line") this.context.putImageData(this.image, 0, 0);
    this.segment(this.stroke.from, point);
    if (this.stroke.tool !== "line") this.stroke.from = point;
  }

  end() {
    if (!this.stroke) return;
    const { width, height } = this.canvas;
    this.replace({ image: this.context.getImageData(0, 0, width, height), blank: false });
  }

  cancel() {
    if (this.stroke) this.context.putImageData(this.image, 0, 0);
    this.stroke = null;
  }

  segment(from, to) {
    const { width, colour } = this.stroke, margin = width / 2 + 2;
    const left = Math.max(0, Math.floor(Math.min(from.x, to.x) - margin));
    const top = Math.max(0, Math.floor(Math.min(from.y, to.y) - margin));
    const right = Math.min(this.canvas.width, Math.ceil(Math.max(from.x, to.x) + margin));
    const bottom = Math.min(this.canvas.height, Math.ceil(Math.max(from.y, to.y) + margin));
    if (right <= left || bottom <= top) return;
    const part = this.context.getImageData(left, top, right - left, bottom - top);
    drawSegment(part, left, top, from, to, width, colour, this.hard);
    this.context.putImageData(part, left, top);
  }

  fill(point) {
    const { width, height } = this.canvas, x = Math.floor(point.x), y = Math.floor(point.y);
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const image = this.context.getImageData(0, 0, width, height);
    fillArea(image, x, y, this.stroke.colour, this.hard ? 0 : SIMILAR);
    this.context.putImageData(image, 0, 0);
  }
}
