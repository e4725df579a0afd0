// Shortcuts, unless a control that takes text or keys has the focus. They click the controls that they stand for.

const find = (id) => document.getElementById(id);
const CLICKS = { p: "[value=pen]", l: "[value=line]", b: "[value=bucket]", e: "[value=eraser]",
  o: "#open", r: "#example", m: "#patches-shown", s: "#save", x: "#swap", Delete: "#clear" };
const WITH_CONTROL = { z: "#undo", y: "#redo", Z: "#redo" };

function changeWidth(step) {
  const width = find("width");
  width.value = Number(width.value) + step * (width.value >= 10 ? 3 : 1);
  width.dispatchEvent(new Event("input"));
}

export function connectShortcuts(palette) {
  document.addEventListener("keydown", (event) => {
    const { target, key } = event, typing = target.matches("select, input[type=password]");
    if (typing || event.altKey || document.querySelector("dialog[open]")) return;
    const control = event.ctrlKey || event.metaKey;
    const selector = (control ? WITH_CONTROL : CLICKS)[key.length === 1 && !control ? key.toLowerCase() : key];
    const element = selector && document.querySelector(selector);
    if (element && !element.closest("[inert], [hidden]")) element.click();
    else if (!control && (key === "[" || key === "]")) changeWidth(key === "]" ? 1 : -1);
    else if (!control && /^[1-9]$/.test(key)) palette.choose(Number(key) - 1);
    else if (!control && key === "?") find("help").open = true;
    else return;
    event.preventDefault();
  });
}
