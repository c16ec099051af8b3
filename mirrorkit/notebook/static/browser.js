// The drawing half of mirrorkit's pair browser. The model's trait `view` holds all there is to draw; keys and
// buttons send small messages back. What models wrote gets into the page as text nodes alone.

const KEYS = {
  j: "next", ArrowRight: "next", k: "previous", ArrowLeft: "previous",
  1: "left", 2: "right", 3: "tie", 0: "skip", u: "undo", n: "note", f: "filter",
};
const GO_ON_WHILE_HELD = ["next", "previous"];
const LEGEND = [
  [["j", "→"], "next"], [["k", "←"], "previous"], [["1"], "A is better"], [["2"], "B is better"],
  [["3"], "tie"], [["0"], "skip"], [["n"], "note"], [["u"], "undo"], [["f"], "filter"],
  [["Esc"], "leave a field"],
];
const SORTS = { oldest: "oldest first", newest: "newest first" };
const MARKS = { primary: "mark primary", silent: "mark silent" };
const LONG_CONVERSATION = 700;
const BLOCK = 10000;
const SLOW_MS = 500;
const NARROW_PX = 640;

function make(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

function put(parent, ...children) {
  parent.append(...children.filter((child) => child !== null));
  return parent;
}

function button(text, name, press, key) {
  const node = make("button", name, text);
  node.type = "button";
  node.addEventListener("click", press);
  if (key) put(node, make("kbd", "", key));
  return node;
}

function labelled(text, field, name) {
  return put(make("label", name), make("span", "", text), field);
}

// A megabyte in one box takes a browser a minute to lay out; in boxes of their own, those in sight are drawn.
function flow(node, text) {
  if (text.length <= BLOCK) return put(node, document.createTextNode(text));
  for (let from = 0, to = 0; from < text.length; from = to) {
    to = blockEnd(text, from);
    put(node, make("span", "block", text.slice(from, to)));
  }
  return node;
}

// after a line break where there is one, else after a space, and never within a character
function blockEnd(text, from) {
  const end = from + BLOCK;
  if (end >= text.length) return text.length;
  for (const stop of ["\n", " "]) {
    const found = text.lastIndexOf(stop, end - 1);
    if (found >= from + BLOCK / 2) return found + 1;
  }
  return /[\uD800-\uDBFF]/.test(text[end - 1]) ? end - 1 : end;
}

const number = (value) => value.toLocaleString("en-US");

function render({ model, el }) {
  const root = make("div", "mirrorkit-browser");
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "pairs of answers");
  // JupyterLab looks for shortcuts on the way up from what has the focus, and stops here
  root.dataset.lmSuppressShortcuts = "true";

  const fold = {};
  let waiting = null;
  let noted = ""; // the note as it was drawn, or sent: what differs from it was typed

  const view = () => model.get("view");
  const here = () => view().pair?.id;

  function sendNote() {
    if (note.value === noted) return;
    noted = note.value;
    send({ do: "note", pair: note.dataset.pair, text: noted });
  }
  function send(message) {
    if (message.do !== "note") sendNote(); // before another pair may be shown
    clearTimeout(waiting);
    waiting = setTimeout(() => root.classList.add("is-waiting"), SLOW_MS);
    model.send(message);
  }
  const ask = (query) => send({ do: "query", query });
  const act = {
    next: () => send({ do: "next" }),
    previous: () => send({ do: "previous" }),
    left: () => send({ do: "vote", pair: here(), choice: "left" }),
    right: () => send({ do: "vote", pair: here(), choice: "right" }),
    tie: () => send({ do: "vote", pair: here(), choice: "tie" }),
    skip: () => send({ do: "skip", pair: here() }),
    undo: () => send({ do: "undo" }),
    note: () => note.focus(),
    filter: () => { filters.open = true; expression.focus(); },
  };

  // ---- what is there from the start -----------------------------------------------------------------

  function select(name) {
    const node = make("select");
    node.addEventListener("change", () => {
      ask({ [name]: node.value === "" ? null : node.value });
      root.focus({ preventScroll: true });
    });
    return node;
  }
  function checkbox(change) {
    const node = make("input");
    node.type = "checkbox";
    node.addEventListener("change", () => change(node.checked));
    return node;
  }
  function field(placeholder, label) {
    const node = make("input");
    node.type = "text";
    node.placeholder = placeholder;
    node.spellcheck = false;
    node.autocomplete = "off";
    node.setAttribute("aria-label", label);
    return node;
  }

  const arm = select("arm");
  const tag = select("tag");
  const status = select("status");
  const sort = select("sort");
  const differs = checkbox((on) => ask({ differs: on }));
  const unvoted = checkbox((on) => ask({ unvoted: on }));
  const goOn = checkbox((on) => send({ do: "go_on", on }));
  const expression = field('pl.col("silent_latency_s") > 2', "filter by a Polars expression");
  const error = make("div", "error");
  error.setAttribute("role", "alert");
  expression.addEventListener("change", () => ask({ expression: expression.value }));

  const armLabel = labelled("arm", arm);
  const tagLabel = labelled("tag", tag);
  const look = button("Look for new pairs", "plain", () => send({ do: "refresh" }));
  const filters = put(
    make("details", "filtering"), make("summary", "", "filter and sort"),
    put(
      make("div", "filters"),
      armLabel, tagLabel, labelled("status", status), labelled("sort by", sort, "sort"),
      labelled("differs", differs, "check"), labelled("not voted", unvoted, "check"),
      labelled("filter", expression, "expression"),
      look, error,
    ),
  );

  const place = make("strong", "place");
  const counted = make("span", "counted");
  const said = make("span", "said");
  said.setAttribute("role", "status");
  const back = button("Previous", "", act.previous, "k");
  const forth = button("Next", "", act.next, "j");
  const bar = put(make("div", "bar"), put(make("div", "places"), back, forth, place, counted), said);

  const votes = {
    left: button("A is better", "vote", act.left, "1"),
    right: button("B is better", "vote", act.right, "2"),
    tie: button("Tie", "vote", act.tie, "3"),
  };
  const skip = button("Skip", "", act.skip, "0");
  const undo = button("Undo", "", act.undo, "u");
  const note = field("a note on this pair", "a note on this pair");
  note.addEventListener("blur", () => {
    sendNote();
    if (note.dataset.pair !== (here() ?? "")) drawNote(view());
  });
  const voting = put(
    make("div", "voting"), votes.left, votes.right, votes.tie, skip, undo,
    labelled("note", note, "note"), labelled("next after a vote", goOn, "check"),
  );

  const pages = make("div", "pages");
  const list = put(make("details", "list"), make("summary", "", "pairs"), pages);
  const pair = make("div", "pair");
  const legend = make("div", "legend");
  for (const [keys, does] of LEGEND) {
    const entry = make("span");
    keys.forEach((key) => put(entry, make("kbd", "", key)));
    put(legend, put(entry, document.createTextNode(does)));
  }
  put(legend, make("span", "hint", "click into the browser for its keys to work"));

  put(root, filters, bar, voting, put(make("div", "body"), list, pair), legend);

  // ---- what changes ---------------------------------------------------------------------------------

  function choices(node, options, value) {
    const wanted = options.map(([key, text]) => `${key} ${text}`).join("\n");
    if (node.dataset.options !== wanted) {
      node.replaceChildren(...options.map(([key, text]) => {
        const option = make("option", "", text);
        option.value = key;
        return option;
      }));
      node.dataset.options = wanted;
    }
    node.value = value ?? "";
  }

  function drawFilters({ options, query, error: wrong, go_on, grows }) {
    const any = (values, none) => [["", none], ...values];
    choices(arm, any(options.arms, "all silent models"), query.arm);
    choices(tag, any(options.tags, "any"), query.tag);
    choices(status,
      [["", "any"], ["ok", "both ok"], ...options.statuses.map(([key, text]) => [key, `${text} on a side`])],
      query.status);
    choices(sort, options.sorts.map(([key, text]) => [key, SORTS[key] ?? `${text}, most different first`]),
      query.sort);
    look.hidden = !grows;
    armLabel.hidden = options.arms.length === 0;
    tagLabel.hidden = options.tags.length === 0;
    differs.checked = query.differs;
    unvoted.checked = query.unvoted;
    goOn.checked = go_on;
    if (document.activeElement !== expression || !wrong) expression.value = query.expression;
    error.textContent = wrong && `${wrong}\nThe list is as it was before.`;
    error.hidden = !wrong;
    expression.setAttribute("aria-invalid", String(Boolean(wrong)));
  }

  function fitting({ count, grows }) {
    if (!count.all) return grows ? "No pairs yet." : "No pairs.";
    if (count.all === 1) return "The one pair does not fit the filter.";
    return `None of the ${number(count.all)} pairs fits the filter.`;
  }

  function drawNote({ pair: shown }) {
    const other = note.dataset.pair !== (shown?.id ?? "");
    if (document.activeElement === note && (!other || note.value !== noted)) return; // somebody types
    note.value = noted = shown?.note ?? "";
    note.dataset.pair = shown?.id ?? "";
  }

  function drawBar(now) {
    const { at, count, message, can_undo, left_out, pair: shown } = now;
    place.textContent = shown ? `Pair ${number(at + 1)} of ${number(count.shown)}` : fitting(now);
    const skipped = count.skipped ? `, ${number(count.skipped)} skipped` : "";
    const of = count.shown === count.all ? "" : `, of ${number(count.all)} pairs in all`;
    const tally = shown ? `${number(count.voted)} voted, ${number(count.shown - count.voted)} left${skipped}${of}` : "";
    counted.textContent = [tally, left_out].filter(Boolean).join("; ");
    said.textContent = message;
    back.disabled = !shown || at === 0;
    forth.disabled = !shown || at >= count.shown - 1;
    undo.disabled = !can_undo;
    skip.disabled = note.disabled = !shown;
    for (const [choice, node] of Object.entries(votes)) {
      node.disabled = !shown;
      node.setAttribute("aria-pressed", String(shown?.preferred === choice));
    }
    drawNote(now);
  }

  function drawList({ page, at }) {
    const rows = page.rows.map((row, index) => {
      const to = page.first + index;
      const node = button("", "row", () => send({ do: "go", to }));
      node.tabIndex = -1;
      node.setAttribute("aria-current", String(to === at));
      put(node, make("span", "n", number(to + 1)), make("span", "asked", row.text || "–"),
        make("span", "value", row.value), make("span", MARKS[row.mark] ?? "mark", row.mark));
      return node;
    });
    const turn = put(
      make("div", "turn"),
      button("‹", "", () => send({ do: "go", to: page.first - page.size })),
      make("span", "", `page ${number(page.number)} of ${number(page.of)}`),
      button("›", "", () => send({ do: "go", to: page.first + page.size })),
    );
    turn.firstChild.disabled = page.number <= 1;
    turn.lastChild.disabled = page.number >= page.of;
    turn.firstChild.setAttribute("aria-label", "page before");
    turn.lastChild.setAttribute("aria-label", "page after");
    pages.replaceChildren(...rows, turn);
    list.hidden = page.rows.length === 0;
  }

  function facts(told) {
    const node = make("dl", "facts");
    for (const [name, value] of told) put(node, put(make("div"), make("dt", "", name), make("dd", "", value)));
    return told.length ? node : null;
  }

  function more(cut, part) {
    if (!cut || !cut.step) return null;
    const rest = number(cut.of - cut.shown);
    return put(
      make("div", "more"), make("span", "", `${number(cut.shown)} of ${number(cut.of)} characters shown `),
      button(cut.step < cut.of - cut.shown ? `Show ${number(cut.step)} more of ${rest}` : `Show all`, "plain",
        () => send({ do: "more", part })),
    );
  }

  function folded(name, summary, open, ...content) {
    const node = put(make("details", name), make("summary", "", summary), ...content);
    node.open = fold[name] ?? open;
    node.addEventListener("toggle", () => { fold[name] = node.open; });
    return node;
  }

  function drawConversation({ turns, before, cut }) {
    if (!turns.length) return null;
    const long = turns.length > 2 || turns.reduce((sum, [, text]) => sum + text.length, 0) > LONG_CONVERSATION;
    const nodes = turns.map(([role, text]) => {
      const said = flow(make("div", "text"), text);
      said.dir = "auto";
      return put(make("div", "spoken"), make("span", "role", role), said);
    });
    if (before) nodes.unshift(make("div", "spoken", `${number(before)} earlier, not shown yet`));
    if (!long) return put(make("div", "conversation"), ...nodes, more(cut, "conversation"));
    const total = number(turns.length + before);
    const [role, text] = turns[turns.length - 1];
    const last = `${role}: ${text.slice(0, 160).replace(/\s+/g, " ")}`;
    return folded("conversation", `${total} ${total === "1" ? "message" : "messages"} · ${last}`, false, ...nodes,
      more(cut, "conversation"));
  }

  function table(name, heads, rows) {
    const head = put(make("tr"), ...heads.map((text) => make("th", "", text)));
    const body = rows.map(([differ, ...cells]) => put(
      make("tr", differ ? "differ" : ""),
      ...cells.map((text) => {
        const cell = make("td", text === null ? "absent" : "", text ?? "absent");
        cell.dir = "auto";
        return cell;
      }),
    ));
    return put(make("div", "wide"), put(make("table", name), put(make("thead"), head), put(make("tbody"), ...body)));
  }

  function drawFields(told, heads) {
    if (!told) return null;
    const same = `${number(told.same)} ${told.same === 1 ? "field is" : "fields are"} the same`;
    const node = put(make("section"), make("h4", "", `JSON: ${told.rows.length ? "fields that differ" : same}`));
    if (!told.rows.length) return node;
    put(node, table("fields", ["field", ...heads], told.rows.map((row) => [true, ...row])));
    return put(node, make("p", "small", told.more ? `and ${number(told.more)} more; ${same}` : same));
  }

  function drawCalls(told, heads) {
    if (!told) return null;
    const rows = told.rows.map(([left, right, agrees]) => [!agrees, left, right, agrees ? "same" : "differs"]);
    const node = put(make("section"), make("h4", "", "Tool calls"), table("calls", [...heads, ""], rows));
    return put(node, told.more ? make("p", "small", `and ${number(told.more)} more`) : null);
  }

  function drawSide(side, part) {
    const text = make("div", "text");
    text.dir = "auto";
    for (const [kind, said] of side.segments) put(text, flow(kind === "only" ? make("mark") : make("span", kind), said));
    if (side.empty && !side.failure) put(text, make("em", "", "no text on record"));
    const node = put(make("article", `side ${part} ${side.side}`), make("h4", "", side.who), facts(side.facts));
    if (side.failure) put(node, make("div", "failure", side.failure));
    return put(node, text, more(side.cut, part));
  }

  function drawPair({ pair: shown, blind }) {
    if (!shown) return pair.replaceChildren();
    if (fold.id !== shown.id) {
      Object.keys(fold).forEach((name) => delete fold[name]);
      fold.id = shown.id;
    }
    const scrolled = [...pair.querySelectorAll(".side .text")].map((node) => node.scrollTop);
    const again = pair.dataset.pair === shown.id;
    const heads = shown.revealed ? [shown.left.who, shown.right.who] : ["A", "B"];
    const sides = put(make("div", "sides"), drawSide(shown.left, "left"), drawSide(shown.right, "right"));
    const hidden = blind && !shown.revealed
      ? make("p", "small blind", "Blind: the sides are shuffled; who wrote which is told after the vote.") : null;
    const unmarked = shown.unmarked ? make("p", "small unmarked", shown.unmarked) : null;
    const structured = shown.fields && (shown.fields.rows.length || shown.fields.same);
    pair.replaceChildren();
    put(
      pair, drawConversation(shown.conversation), hidden, drawCalls(shown.calls, heads),
      drawFields(shown.fields, heads), unmarked, structured ? folded("as-text", "as text", true, sides) : sides,
      facts(shown.facts),
    );
    pair.dataset.pair = shown.id;
    if (again) [...pair.querySelectorAll(".side .text")].forEach((node, at) => { node.scrollTop = scrolled[at] ?? 0; });
  }

  function draw() {
    clearTimeout(waiting);
    root.classList.remove("is-waiting");
    const now = view();
    const focused = root.contains(document.activeElement);
    drawFilters(now);
    drawBar(now);
    drawList(now);
    drawPair(now);
    // the button that was pressed may be gone, or disabled, and the keys with it
    const active = document.activeElement;
    if (focused && (!root.contains(active) || active.disabled)) root.focus({ preventScroll: true });
  }

  // where there is little room, the pair comes first: list and filters are folded
  let narrow = null;
  const room = new ResizeObserver(([{ contentRect }]) => {
    if (!contentRect.width || (contentRect.width < NARROW_PX) === narrow) return;
    narrow = contentRect.width < NARROW_PX;
    list.open = filters.open = !narrow;
  });

  // ---- keys -----------------------------------------------------------------------------------------

  const typing = (node) => node.matches("select, textarea, input:not([type=checkbox]), [contenteditable]");

  function pressed(event) {
    event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing(event.target)) {
      if (event.key === "Escape" || (event.key === "Enter" && event.target.tagName === "INPUT")) {
        event.preventDefault();
        root.focus({ preventScroll: true }); // which tells of what was typed, as the field is left
      }
      return;
    }
    const name = KEYS[event.key]; // a key that is held votes once
    const again = event.repeat && (name ? !GO_ON_WHILE_HELD.includes(name) : event.key === "Enter");
    if (again) return event.preventDefault();
    const deed = act[name];
    if (!deed || event.shiftKey) return;
    event.preventDefault();
    deed();
  }

  root.addEventListener("keydown", pressed);
  model.on("change:view", draw);
  put(el, root);
  draw();
  room.observe(root);
  return () => {
    room.disconnect();
    clearTimeout(waiting);
    model.off("change:view", draw);
    root.remove();
  };
}

export default { render };
