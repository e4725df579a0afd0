// The translation over the input with a slider between them, and saving it.

const find = (id) => document.getElementById(id);

export function showOn(canvas, image) {
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0);
}

// Set the shape of the stages: they are as high as the window allows.
export function setShape(width, height) {
  document.documentElement.style.setProperty("--ratio", width / height);
  document.documentElement.classList.toggle("coarse", Math.max(width, height) <= 96);
}

export class Result {
  constructor() {
    this.slider = find("compare");
    this.slider.addEventListener("input", () => this.compare());
    const stage = find("output-stage");
    const drag = (event) => {
      if (!stage.hasPointerCapture(event.pointerId) || !this.file) return;
      const box = stage.getBoundingClientRect();
      this.slider.value = (100 * (event.clientX - box.left)) / box.width;
      this.compare();
    };
    stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
    stage.addEventListener("pointermove", drag);
    find("save").addEventListener("click", () => this.save());
    this.clear();
  }

  compare() {
    for (const id of ["output", "patch-map"]) find(id).style.clipPath = `inset(0 0 0 ${this.slider.value}%)`;
    find("output-stage").style.setProperty("--part", `${this.slider.value}%`);
    find("output-stage").classList.toggle("comparing", this.file !== null && this.slider.value > 0);
  }

  // Show the file that the service returned, decoded as `image`, over its input.
  show(file, image, input, name) {
    this.file = file;
    this.name = `${name}.png`;
    showOn(find("before"), input);
    showOn(find("output"), image);
    this.update();
  }

  clear() {
    this.file = null;
    this.update();
  }

  update() {
    const shown = this.file !== null;
    find("empty").hidden = shown;
    find("before").hidden = find("output").hidden = !shown;
    find("save").disabled = this.slider.disabled = !shown;
    this.compare();
  }

  save() {
    if (!this.file) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(this.file);
    link.download = this.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}
