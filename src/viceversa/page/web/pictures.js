// Images from files, the clipboard, drag and drop, and the camera.

const find = (id) => document.getElementById(id);

export class PictureError extends Error {}

// Decode an image file, rotated as its EXIF tag says, and reduce it to sides of at most `largest` pixels.
export async function decode(file, largest, smooth) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new PictureError(`This browser cannot read ${file.name || "the file"} as an image.`);
  }
  const scale = largest / Math.max(image.width, image.height);
  if (scale >= 1) return image;
  const [resizeWidth, resizeHeight] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
  return createImageBitmap(image, { resizeWidth, resizeHeight, resizeQuality: smooth ? "high" : "pixelated" });
}

// Draw an image at a size and return its pixels, over white.
export function pixelsAt(image, width, height, smooth) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

// Call `use` with each image file that the user picks, drops or pastes.
export function connectFiles(use) {
  const input = find("file"), first = (files) => [...files].find((one) => one.type.startsWith("image/")) ?? files[0];
  find("open").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) use(input.files[0]);
    input.value = "";  // so that the same file can be picked again
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  for (const name of ["dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      if (name === "drop" || !event.relatedTarget) document.body.classList.remove("dropping");
    });
  }
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    use(first(event.dataTransfer.files));
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) use(first(event.clipboardData.files));
  });
}

// Show the button of the camera where there may be one; `use` is called with the picture, `fail` with an error.
export function connectCamera(use, fail) {
  const dialog = find("camera-dialog"), video = find("video"), button = find("camera");
  button.hidden = !navigator.mediaDevices?.getUserMedia;
  let stream = null;
  button.addEventListener("click", async () => {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      fail(new PictureError(error.name === "NotFoundError" ? "No camera was found." : "The camera is not available."));
      return;
    }
    video.srcObject = stream;
    dialog.returnValue = "";
    dialog.showModal();
    await video.play();
  });
  dialog.addEventListener("close", async () => {
    const taken = dialog.returnValue === "take" && video.videoWidth ? await createImageBitmap(video) : null;
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    if (taken) use(taken);
  });
}
