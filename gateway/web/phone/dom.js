// Elements, without markup in strings: whatever a shop calls its wares is text
// here and nothing else.

// h makes an element: h("p.note", {id: "x", onclick: f}, "text", another).
// Attributes that are false or null are left out; children that are null too.
export function h(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const e = document.createElement(tag);
  if (classes.length) e.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (typeof value === "function") e.addEventListener(key.slice(2), value);
    else e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.flat(Infinity).filter((c) => c != null && c !== false));
  return e;
}

// Drawn on a grid of 24, in one stroke of 1.75.
const paths = {
  home: "M4 11 12 4l8 7v8a1 1 0 0 1-1 1h-4.5v-6h-5v6H5a1 1 0 0 1-1-1z",
  history: "M6 3h12v18l-3-2-3 2-3-2-3 2zM9.5 8h5M9.5 12h5",
  claim: "M4 8V5a1 1 0 0 1 1-1h3M16 4h3a1 1 0 0 1 1 1v3M20 16v3a1 1 0 0 1-1 1h-3M8 20H5a1 1 0 0 1-1-1v-3M8.5 8.5h2.5V11H8.5zM13 8.5h2.5M13 11h2.5M8.5 13.5H11M8.5 15.5H11M13 13.5h2.5v2H13z",
  settings: "M8 3h8a1.5 1.5 0 0 1 1.5 1.5v15A1.5 1.5 0 0 1 16 21H8a1.5 1.5 0 0 1-1.5-1.5v-15A1.5 1.5 0 0 1 8 3zM11 18h2",
  back: "M15 5l-7 7 7 7",
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M6 6l12 12M18 6L6 18",
  clock: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 7.5V12l3 2",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3M12 14.5v2",
  purse: "M4 7.5h14.5A1.5 1.5 0 0 1 20 9v9a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 18zm0 0V7a2 2 0 0 1 2-2h10v2.5M16 13.5h.01",
  passkey: "M9.5 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM3 20c0-3.5 2.9-5.5 6.5-5.5 1.2 0 2.3.2 3.2.6M17.5 10.5a2.5 2.5 0 0 0-1 4.8V20l1 1 1.5-1.5-1-1 1-1-1-1.2a2.5 2.5 0 0 0-.5-4.8z",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  reader: "M7.5 2.5h9A1.5 1.5 0 0 1 18 4v16a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 6 20V4a1.5 1.5 0 0 1 1.5-1.5zM9 5.5h6V10H9zM9.25 13.5h.01M12 13.5h.01M14.75 13.5h.01M9.25 17h.01M12 17h.01M14.75 17h.01",
  card: "M4.5 5.5h15A1.5 1.5 0 0 1 21 7v10a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17V7a1.5 1.5 0 0 1 1.5-1.5zM3 9.75h18M6.5 14.5h4",
  pad: "M7 5.5h.5M11.75 5.5h.5M16.5 5.5h.5M7 10h.5M11.75 10h.5M16.5 10h.5M7 14.5h.5M11.75 14.5h.5M16.5 14.5h.5M11.75 19h.5",
  auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  light: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5V5M12 19v2.5M2.5 12H5M19 12h2.5M5.3 5.3 7 7M17 17l1.7 1.7M5.3 18.7 7 17M17 7l1.7-1.7",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  next: "M9 5l7 7-7 7",
};

// icon is for the eye only: what it means is said in words beside it.
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [k, v] of Object.entries({ viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true", focusable: "false" })) svg.setAttribute(k, v);
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", paths[name]);
  svg.append(path);
  return svg;
}

// say tells a screen reader something that is not worth moving the focus for.
export function say(text) {
  const region = document.getElementById("said");
  if (region) region.textContent = region.textContent === text ? text + " " : text;
}

// isolate keeps a name's or an amount's own direction from moving what stands
// around it.
export const isolate = (text) => h("bdi", {}, String(text));
