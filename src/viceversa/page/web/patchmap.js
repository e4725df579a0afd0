// The patch map of a translation, as an overlay, for models with the discriminator of their run.
import { patchMap } from "./service.js";

const find = (id) => document.getElementById(id);

// Show the controls of a model, and hide the map of the previous model.
export function usePatchMap(model) {
  find("patches-label").hidden = !model.patch_map;
  hidePatchMap();
}

export function hidePatchMap() {
  find("patch-map").hidden = find("patches").hidden = true;
}

// Request and show the map of an input, if the box "Patch map" is checked.
export async function showPatchMap(model, image, signal) {
  if (!model.patch_map || !find("patches-shown").checked) return;
  const answer = await patchMap(model, image, signal);
  if (signal.aborted) return;
  const [rows, columns] = answer.map, { mean_value: mean, real_fraction: real } = answer;
  const part = real === null ? "" : `, ${Math.round(100 * real)} % classified as real`;
  const summary = `${rows} × ${columns} patches, mean ${mean.toFixed(2)}${part}.`;
  find("patch-map").src = `data:image/png;base64,${answer.image}`;
  find("patch-map").alt = `Patch map: ${summary}`;
  find("patch-map").hidden = find("patches").hidden = false;
  find("patches-text").textContent = `${summary} A value is ${answer.meaning}.`;
}
