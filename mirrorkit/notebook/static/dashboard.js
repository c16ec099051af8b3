// Shows the dashboard's parts, which the kernel makes; says when it is seen, and when it is no longer.

const PARTS = ["head", "counters", "spend", "charts", "gates", "errors"];

// The kernel escapes what came with the data. This is a second wall: nothing else gets into the page.
const TAGS = new Set(
  ("B BR CIRCLE DIV H4 LINE P POLYLINE RECT SPAN STRONG SVG TABLE TBODY TD TEXT TH THEAD TR").split(" "),
);
const ATTRIBUTES = new Set(
  ("aria-hidden aria-label class colspan cx cy fill fill-opacity height points r role scope stroke " +
    "stroke-dasharray stroke-linecap stroke-opacity stroke-width style text-anchor transform viewbox width " +
    "x x1 x2 y y1 y2").split(" "),
);

function safe(html) {
  const body = new DOMParser().parseFromString(html, "text/html").body;
  for (const each of [...body.querySelectorAll("*")]) {
    if (!TAGS.has(each.tagName.toUpperCase())) {
      each.remove();
      continue;
    }
    for (const { name } of [...each.attributes]) {
      if (!ATTRIBUTES.has(name.toLowerCase())) each.removeAttribute(name);
    }
  }
  return [...body.childNodes];
}

function made(tag, className, parent) {
  const element = document.createElement(tag);
  element.className = className;
  parent.append(element);
  return element;
}

function render({ model, el }) {
  const board = made("div", "mirrorkit-live", el);
  const top = made("div", "top", board);
  const state = made("span", "state", top);
  const places = {};
  for (const name of PARTS) places[name] = made("div", `part ${name}`, name === "head" ? top : board);
  const button = made("button", "pause", top);
  button.type = "button";

  const show = (name) => {
    // a click on "pause" holds at once, also while the kernel is busy and hears of it later
    if (model.get("paused") && !model.get("closed") && places[name].hasChildNodes()) return;
    places[name].replaceChildren(...safe(model.get(name)));
  };
  const showState = () => {
    const closed = model.get("closed");
    const paused = model.get("paused") && !closed;
    state.textContent = closed ? "session closed" : paused ? "paused" : "live";
    state.className = `state ${closed ? "closed" : paused ? "paused" : "live"}`;
    button.textContent = paused ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
    button.hidden = closed;
    if (!paused) PARTS.forEach(show);
  };
  button.addEventListener("click", () => {
    const paused = !model.get("paused");
    model.set("paused", paused);
    // not by save_changes, which waits for the kernel to be idle after the last one
    model.send({ paused });
  });

  const here = () => model.send({ view: "shown" });
  const asked = (message) => {
    if (message && message.ask === "who is there") here();
  };
  const heard = PARTS.map((name) => [`change:${name}`, () => show(name)]);
  heard.push(["change:paused", showState], ["change:closed", showState], ["msg:custom", asked]);
  for (const [event, callback] of heard) model.on(event, callback);
  showState();
  here();
  return () => {
    for (const [event, callback] of heard) model.off(event, callback);
    model.send({ view: "gone" });
  };
}

export default { render };
