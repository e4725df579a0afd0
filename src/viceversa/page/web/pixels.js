// Operations on the pixels of an ImageData. Colours are [red, green, blue, alpha].

export function colourOf(text) {
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)).concat(255);
}

export function textOf(colour) {
  return "#" + [...colour].slice(0, 3).map((value) => value.toString(16).padStart(2, "0")).join("");
}

// Draw a segment with round ends into an image whose upper left pixel is at `left`, `top`.
export function drawSegment(image, left, top, from, to, width, colour, hard) {
  const radius = Math.max(width / 2, Math.SQRT1_2), { data } = image;
  const dx = to.x - from.x, dy = to.y - from.y, length = dx * dx + dy * dy || 1;
  for (let row = 0, at = 0; row < image.height; row++) {
    for (let column = 0; column < image.width; column++, at += 4) {
      const x = left + column + 0.5 - from.x, y = top + row + 0.5 - from.y;
      const t = Math.min(1, Math.max(0, (x * dx + y * dy) / length));
      const distance = Math.hypot(x - t * dx, y - t * dy);
      const cover = hard ? Number(distance <= radius) : Math.min(1, Math.max(0, radius + 0.5 - distance));
      if (cover) for (let c = 0; c < 3; c++) data[at + c] += (colour[c] - data[at + c]) * cover;
    }
  }
}

// Fill the area of similar colour around a pixel: neighbours share an edge.
export function fillArea(image, x, y, colour, tolerance) {
  const { width, height, data } = image, seen = new Uint8Array(width * height);
  const first = y * width + x, [red, green, blue] = data.slice(4 * first, 4 * first + 3);
  const open = [first];
  const add = (pixel) => {
    const at = 4 * pixel;
    if (seen[pixel] || Math.abs(data[at] - red) > tolerance || Math.abs(data[at + 1] - green) > tolerance
      || Math.abs(data[at + 2] - blue) > tolerance) return;
    seen[pixel] = 1;
    open.push(pixel);
  };
  seen[first] = 1;
  while (open.length) {
    const pixel = open.pop(), column = pixel % width;
    if (column > 0) add(pixel - 1);
    if (column < width - 1) add(pixel + 1);
    if (pixel >= width) add(pixel - width);
    if (pixel < width * (height - 1)) add(pixel + width);
    data.set(colour, 4 * pixel);
  }
}

// Replace each pixel by the nearest colour of a palette.
export function snapToPalette(image, palette) {
  const { data } = image, known = new Map();
  for (let at = 0; at < data.length; at += 4) {
    const key = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
    if (!known.has(key)) {
      const distance = (colour) => [0, 1, 2].reduce((sum, c) => sum + (colour[c] - data[at + c]) ** 2, 0);
      known.set(key, palette.reduce((best, one) => (distance(one) < distance(best) ? one : best)));
    }
    data.set(known.get(key), at);
  }
}

export function meanDifference(one, other) {
  let sum = 0;
  for (let at = 0; at < one.length; at++) sum += Math.abs(one[at] - other[at]);
  return sum / (one.length * 0.75);  // alpha is equal: 3 of 4 values count
}
