"use strict";

const WIDTH = 1000, HEIGHT = 300;  // of the SVG, as in charts.py
const whole = (number) => number.toLocaleString("en", { maximumFractionDigits: 0 });

function format(number) {  // four significant digits, as in the rest of the page
  if (number === null) return "–";
  const size = Math.abs(number);
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) return number.toPrecision(4);
  return size >= 1e4 ? whole(number) : number.toLocaleString("en", { maximumSignificantDigits: 4 });
}

function nearest(list, value) {
  return list.reduce((best, x, i) => (Math.abs(x - value) < Math.abs(list[best] - value) ? i : best), 0);
}

function roundTicks(low, high, count) {
  const rough = (high - low) / count, unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((one) => one >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function logTicks(low, high) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const step = Math.max(1, Math.ceil((last - first) / 5)), ticks = [];
  for (let n = first; n <= last; n += step)
    for (const m of high < 170 * low ? [1, 2, 5] : [1]) ticks.push(m * 10 ** n);
  const inside = ticks.filter((tick) => tick >= low && tick <= high);
  return inside.length > 1 ? inside : roundTicks(low, high, 4);
}

function yAxis(values, scale) {  // as y_axis in charts.py, unless a scale is chosen
  const positive = values.filter((value) => value > 0);
  const extreme = (list) => [list.reduce((a, b) => Math.min(a, b)), list.reduce((a, b) => Math.max(a, b))];
  let [low, high] = extreme(values);
  if (positive.length && scale !== "linear" && (scale === "log" || (low > 0 && Math.log10(high / low) >= 1.5))) {
    [low, high] = extreme(positive);
    [low, high] = [low / 1.3, high * 1.3];
    const at = (value) => Math.log(Math.max(value, low) / low) / Math.log(high / low);
    return { log: true, ticks: logTicks(low, high), at };
  }
  const flat = high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high));
  const margin = flat ? Math.abs(high) / 2 || 1 : (high - low) / 20;
  const bottom = low >= 0 && low <= (high - low) / 2 ? 0 : low - margin, top = high + margin;
  return { log: false, ticks: roundTicks(bottom, top, 5), at: (value) => (value - bottom) / (top - bottom) };
}

function precise(tick, ticks, size) {  // four digits, or more if ticks are close to each other
  const gap = ticks.length > 1 ? ticks[1] - ticks[0] : Infinity;
  let digits = 4;
  while (digits < 12 && Math.abs(Number((tick / size).toPrecision(digits)) * size - tick) > gap / 1000) digits += 1;
  return String(Number((tick / size).toPrecision(digits)));
}

function label(tick, ticks) {  // in thousands or millions if the largest tick is
  const largest = Math.max(...ticks.map(Math.abs));
  for (const [size, unit] of [[1e6, "M"], [1e3, "k"]])
    if (2 * size <= largest && largest < 1e9 && tick) return precise(tick, ticks, size) + unit;
  return precise(tick, ticks, 1);
}

function smoothed(values, weight) {  // exponential moving average, without bias at the start
  let mean = 0, total = 0;
  return values.map((value) => {
    if (value === null || weight === 0) return value;
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + 1 - weight;
    return mean / total;
  });
}

function interpolate(curve, images) {  // curve: images, value, images, value, ...
  let i = 2;
  while (i < curve.length - 2 && curve[i] < images) i += 2;
  const [x0, y0, x1, y1] = curve.slice(i - 2, i + 2);
  return x1 > x0 ? y0 + ((y1 - y0) * (images - x0)) / (x1 - x0) : y1;
}

function xAxis(name, curves, ends, room) {  // curves: by run, over images; ends: [run, images] of lines
  const value = (run, images) => (name === "images" ? images : interpolate(curves[run], images));
  const last = room * ends.map(([run, images]) => value(run, images)).reduce((a, b) => Math.max(a, b)) || 1;
  const time = [["hours", 3600], ["minutes", 60], ["seconds", 1]];
  const units = { images: [["images", 1]], epoch: [["epochs", 1]] }[name] || time;
  const [unit, size] = units.find(([, one]) => last >= 2 * one) || units[units.length - 1];
  const high = last / size, text = name === "images" ? whole : format;
  return {
    unit, high,
    at: (run, images) => value(run, images) / last,
    words: (position) => `after ${text(position * high)} ${unit}`,
  };
}
