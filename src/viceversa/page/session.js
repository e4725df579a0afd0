// Translation in the browser with onnxruntime-web. Replaces service.js in a page without a server. The files of the
// runtime and of the models are next to the page, or in scripts, because a page that is opened as a file cannot use fetch.
import { valuesOf } from "./models.js";
import { encodePng } from "./png.js";

const { embedded, models } = JSON.parse(document.getElementById("models").textContent);
const sessions = new Map();
let runtime = null, queue = Promise.resolve();

class SessionError extends Error {
  code = "session";
}

// These functions need a server. They are never called: models have no patch map, and no error requests a token.
export function setToken() {}
export async function patchMap() {}

// Return the descriptions of the models; start to load the first model.
export async function listModels() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const first = models.find(({ name }) => name === wanted) ?? models[0];
  setTimeout(() => sessionOf(first).catch(() => null));  // a translation reports the error
  return models;
}

function runScript(path) {
  return new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: path, onload: done });
    script.onerror = () => failed(new SessionError(`${path} cannot be loaded.`));
    document.head.append(script);
  });
}

async function readFile(path) {
  if (!embedded) {
    const answer = await fetch(path).catch(() => null);
    if (!answer?.ok) throw new SessionError(`${path} cannot be loaded. This page needs a web server.`);
    return new Uint8Array(await answer.arrayBuffer());
  }
  await runScript(`${path}.b64.js`);
  const text = atob(globalThis.embeddedFiles[path]), bytes = new Uint8Array(text.length);
  delete globalThis.embeddedFiles[path];
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

async function loadRuntime() {
  await runScript("runtime/ort.wasm.min.js");
  const { env } = globalThis.ort, loader = "runtime/loader.js";
  env.logLevel = "error";
  env.wasm.numThreads = 1;  // several threads need HTTP headers that a file or a simple server does not have
  env.wasm.wasmBinary = await readFile("runtime/ort.wasm");
  env.wasm.wasmPaths = { mjs: embedded
    ? URL.createObjectURL(new Blob([await readFile(loader)], { type: "text/javascript" }))
    : new URL(loader, document.baseURI).href };
}

async function loadModel(name) {
  runtime ??= loadRuntime().catch((error) => { runtime = null; throw error; });
  await runtime;
  return globalThis.ort.InferenceSession.create(await readFile(`models/${name}.onnx`), { logSeverityLevel: 3 });
}

// Load a model on first use, and again after a failure.
function sessionOf({ name }) {
  if (!sessions.has(name)) {
    sessions.set(name, loadModel(name).catch((error) => {
      sessions.delete(name);
      throw error instanceof SessionError ? error : new SessionError(`The model cannot be loaded: ${error.message ?? error}`);
    }));
  }
  return sessions.get(name);
}

// Indices that pad an axis at its end by repeated reflection, to a size that the network supports.
function reflected(size, { multiple, smallest }) {
  const length = Math.max(smallest, Math.ceil(size / multiple) * multiple), period = Math.max(2 * size - 2, 1);
  return Array.from({ length }, (_, at) => (at % period < size ? at % period : period - (at % period)));
}

// Values (rows, columns, channels) at these rows and columns of an image.
function take(values, width, channels, rows, columns) {
  const result = new Uint8Array(rows.length * columns.length * channels);
  let to = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = (row * width + column) * channels;
      for (let channel = 0; channel < channels; channel++) result[to++] = values[from + channel];
    }
  }
  return result;
}

async function run(model, image, signal) {
  const session = await sessionOf(model);
  await new Promise((done) => setTimeout(done));  // the drawing is shown, and a newer one may arrive
  signal.throwIfAborted();
  const { width, height } = image, { channels } = model.source;
  const rows = reflected(height, model), columns = reflected(width, model);
  const values = take(valuesOf(model, image), width, channels, rows, columns);
  const tensor = new globalThis.ort.Tensor("uint8", values, [1, rows.length, columns.length, channels]);
  const { translated } = await session.run({ images: tensor });
  const after = translated.dims[3];
  return encodePng(take(translated.data, columns.length, after, [...Array(height).keys()], [...Array(width).keys()]),
    width, height, after);
}

// Return an example input of a model, by its name, as an image file.
export async function loadExample(model, name) {
  return new Blob([await readFile(`examples/${model.name}/${name}`)], { type: "image/png" });
}

// Translate an ImageData; return the translation as an image file. One network computes at a time.
export function translate(model, image, signal) {
  const result = queue.then(() => run(model, image, signal));
  queue = result.catch(() => null);
  return result;
}
