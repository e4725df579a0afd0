// Choice of a colour: a fixed palette, or recent colours and any other one.
import { colourOf } from "./pixels.js";

const FIRST = [["black", "#000000"], ["white", "#ffffff"], ["red", "#c0392b"], ["orange", "#f0a04b"],
  ["yellow", "#f5d547"], ["green", "#2e8b6a"], ["blue", "#2f6f9f"], ["brown", "#7a4b2a"]];
const find = (id) => document.getElementById(id);

export class Palette {
  constructor() {
    this.recent = FIRST.map(([name, colour]) => ({ name, colour }));
    find("custom").addEventListener("change", (event) => this.add(event.target.value));
  }

  get colour() { return colourOf(find("colours").querySelector("input:checked").value); }

  // Show fixed entries [{name, colour}], or with null the recent colours.
  use(fixed) {
    find("colours").parentElement.querySelector(".custom").hidden = fixed !== null;
    this.show(fixed ?? this.recent, fixed ? Math.min(1, fixed.length - 1) : 0, fixed !== null);
  }

  add(colour) {
    this.recent = [{ name: colour, colour }, ...this.recent.filter((one) => one.colour !== colour)].slice(0, FIRST.length);
    this.show(this.recent, 0, false);
  }

  choose(index) {
    const input = find("colours").querySelectorAll("input")[index];
    if (input) input.checked = true;
  }

  show(entries, chosen, named) {
    find("colours").classList.toggle("named", named);
    find("colours").replaceChildren(...entries.map(({ name, colour }, index) => {
      const label = document.createElement("label"), input = document.createElement("input");
      const swatch = document.createElement("i"), text = document.createElement("span");
      Object.assign(input, { type: "radio", name: "colour", value: colour, checked: index === chosen });
      swatch.style.background = colour;
      text.textContent = name;
      label.title = name === colour ? colour : `${name}, ${colour}`;
      label.append(input, swatch, text);
      return label;
    }));
  }
}
