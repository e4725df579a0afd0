// Example inputs of a model, in random order.
import { showClasses } from "./models.js";
import { pixelsAt } from "./pictures.js";
import { loadExample } from "./service.js";

let last = "";

// Whether a model has examples that a browser can decode: PNG files, which have these dtypes.
export function hasExamples(model) {
  return Boolean(model.examples?.length) && ["uint8", "uint16"].includes(model.source.dtype);
}

// Return a random example of a model, different from the previous one, as an image that a canvas can draw.
export async function randomExample(model) {
  const others = model.examples.filter((one) => one !== last);
  last = others[Math.floor(Math.random() * others.length)] ?? model.examples[0];
  const bitmap = await createImageBitmap(await loadExample(model, last));
  if (!model.source.ids) return bitmap;
  const image = pixelsAt(bitmap, bitmap.width, bitmap.height, false);
  showClasses(model.source, image);
  return createImageBitmap(image);
}
