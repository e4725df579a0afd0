// The page: draw or load an image, and show its translation. The newest change wins over older requests.
import { Drawing } from "./drawing.js";
import { hasExamples, randomExample } from "./examples.js";
import { hidePatchMap, showPatchMap, usePatchMap } from "./patchmap.js";
import { LARGEST, fit, isLabels, paletteOf, showClasses, sidesOf, unsupported } from "./models.js";
import { Palette } from "./palette.js";
import { connectCamera, connectFiles, decode, pixelsAt } from "./pictures.js";
import { colourOf, meanDifference, snapToPalette } from "./pixels.js";
import { Result, setShape, showOn } from "./result.js";
import { listModels, setToken, translate } from "./service.js";
import { connectShortcuts } from "./shortcuts.js";
import { connectStrokes } from "./strokes.js";

const find = (id) => document.getElementById(id);
const WHITE = [255, 255, 255, 255];
let models = [], model = null, newest = new AbortController();
const palette = new Palette(), result = new Result();
const drawing = new Drawing(find("input"), update);
const brush = () => ({
  tool: document.querySelector("input[name=tool]:checked").value,
  colour: palette.colour, width: Number(find("width").value),
});

// -- translation

function fail(error) {
  find("error-text").textContent = error.message;
  find("token-form").hidden = error.code !== "unauthorized";
  find("retry").hidden = error.code === "unauthorized" || error.code === undefined;
  find("error").hidden = false;
  find("status").textContent = "";
}

async function update() {
  newest.abort();
  const mine = newest = new AbortController();
  find("undo").disabled = !drawing.past.length;
  find("redo").disabled = !drawing.future.length;
  setShape(drawing.image.width, drawing.image.height);
  find("error").hidden = true;
  find("output-stage").classList.remove("busy");
  if (drawing.blank) {
    hidePatchMap();
    result.clear();
    find("status").textContent = find("cycle-status").textContent = "";
    find("cycle-pair").hidden = true;
    return;
  }
  const { image } = drawing;
  find("output-stage").classList.add("busy");
  find("status").textContent = "Translating …";
  try {
    const began = performance.now();
    const file = await translate(model, image, mine.signal);
    const translation = await decodeTranslation(model, file);
    if (mine !== newest) return;
    result.show(file, translation, image, `${model.name}-translation`);
    find("status").textContent = `Translated ${image.width} × ${image.height} pixels in ${Math.round(performance.now() - began)} ms.`;
    hidePatchMap();
    await Promise.all([showPatchMap(model, image, mine.signal), reconstruct(translation, image, mine)]);
  } catch (error) {
    if (mine === newest) fail(error);
  } finally {
    if (mine === newest) find("output-stage").classList.remove("busy");
  }
}

async function decodeTranslation(one, file) {
  const bitmap = await createImageBitmap(file);
  const image = pixelsAt(bitmap, bitmap.width, bitmap.height, false);
  showClasses(one.target, image);
  return image;
}

// Translate the translation with the model of the other direction.
async function reconstruct(translation, input, mine) {
  const other = otherModel();
  if (!other || !find("reconstruct").checked) return;
  const file = await translate(other, translation, mine.signal);
  const image = await decodeTranslation(other, file);
  if (mine !== newest) return;
  showOn(find("original"), input);
  showOn(find("reconstruction"), image);
  find("cycle-pair").hidden = false;
  const difference = meanDifference(image.data, input.data).toFixed(1);
  find("cycle-status").textContent = `Mean absolute difference: ${difference} of 255.`;
}

// -- models and images

function otherModel() {
  return models.find((one) => one.name === model.other && !unsupported(one));
}

function choose(name) {
  const before = model, image = before && !drawing.blank ? drawing.state : null;
  model = models.find((one) => one.name === name);
  find("model").value = name;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  find("about").textContent = model.description;
  const other = otherModel(), problem = unsupported(model);
  find("swap").hidden = find("cycle").hidden = !other;
  find("other").textContent = other?.name ?? "";
  find("cycle-pair").hidden = true;
  find("example").hidden = !hasExamples(model);
  usePatchMap(model);
  for (const element of document.querySelectorAll(".bar, #work")) element.inert = Boolean(problem);
  if (problem) {
    newest.abort();
    fail(new Error(problem));
    return;
  }
  const fixed = paletteOf(model.source);
  palette.use(fixed);
  const [side, ...larger] = sidesOf(model);
  find("side").replaceChildren(...[side, ...larger].map((one) => new Option(`${one} px`, one)));
  document.documentElement.classList.toggle("labels", isLabels(model));
  const background = isLabels(model) ? colourOf(fixed[0].colour) : WHITE;
  drawing.start(side, side, background, isLabels(model));
  find("width").value = isLabels(model) ? Math.round(side / 12) : Math.max(2, Math.round(side / 40));
  showWidth();
  if (image) createImageBitmap(image.original ?? image.image).then(use);
}

// Use an image as the input, at the chosen size; `image` is anything that a canvas can draw.
function use(image) {
  const [width, height] = fit(image.width, image.height, Number(find("side").value), model.multiple);
  const pixels = pixelsAt(image, width, height, !isLabels(model));
  if (isLabels(model)) snapToPalette(pixels, paletteOf(model.source).map(({ colour }) => colourOf(colour)));
  drawing.replace({ image: pixels, blank: false, original: image });
}

async function useFile(file) {
  if (find("work").inert) return;
  try {
    use(await decode(file, LARGEST, !isLabels(model)));
  } catch (error) {
    fail(error);
  }
}

async function useExample() {
  const chosen = model;
  try {
    const image = await randomExample(chosen);
    if (chosen === model) use(image);
  } catch (error) {
    fail(error);
  }
}

function resize() {
  const { original, image, blank } = drawing.state, side = Number(find("side").value);
  if (blank) drawing.clear(...fit(image.width, image.height, side, model.multiple));
  else createImageBitmap(original ?? image).then(use);
}

// The translation becomes the input of the other direction.
function swap() {
  const other = otherModel();
  if (!other) return;
  const translation = result.file && createImageBitmap(find("output"));
  if (translation) drawing.clear();
  choose(other.name);
  translation?.then(use);
}

function showWidth() { find("width-text").textContent = `${find("width").value} px`; }

async function start() {
  try {
    models = await listModels();
  } catch (error) {
    fail(error);
    return;
  }
  find("error").hidden = true;
  find("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  const wanted = decodeURIComponent(location.hash.slice(1));
  choose(models.some(({ name }) => name === wanted) ? wanted : models[0].name);
}

function retry() { if (model) update(); else start(); }

// -- controls

find("model").addEventListener("change", (event) => choose(event.target.value));
find("side").addEventListener("change", resize);
find("width").addEventListener("input", showWidth);
find("reconstruct").addEventListener("change", () => (find("reconstruct").checked ? update() : (find("cycle-pair").hidden = true)));
find("patches-shown").addEventListener("change", () => (find("patches-shown").checked ? update() : hidePatchMap()));
find("retry").addEventListener("click", retry);
find("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(find("token").value);
  retry();
});
for (const [id, action] of Object.entries({
  undo: () => drawing.undo(), redo: () => drawing.redo(), clear: () => drawing.blank || drawing.clear(), swap,
  example: useExample,
})) find(id).addEventListener("click", action);
connectStrokes(find("input"), document.querySelector(".cursor"), drawing, brush);
connectFiles(useFile);
connectCamera(use, fail);
connectShortcuts(palette);
start();
