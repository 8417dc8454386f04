// Pages that stay true while one looks at them: updates come as server-sent events, the page asks
// for its inside anew and takes over what differs. Focus, scroll, open details and typed text stay.

const PAUSE = 700; // milliseconds between two looks, at least
const state = { source: null, timer: null, last: 0, behind: false, tailing: new Map() };
const main = () => document.getElementById("main");

// --- Taking over what differs ---

function keyOf(node) {
  return node.nodeType === 1 ? node.id || node.dataset.key || "" : "";
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}

function takeAttributes(from, to) {
  for (const { name } of [...to.attributes]) {
    if (!from.hasAttribute(name) && !kept(to, name)) to.removeAttribute(name);
  }
  for (const { name, value } of [...from.attributes]) {
    if (!kept(to, name) && to.getAttribute(name) !== value) to.setAttribute(name, value);
  }
}

// What a person did to the page belongs to the person.
function kept(node, name) {
  if (name === "open" && node.nodeName === "DETAILS") return true;
  if (name === "value" && node.nodeName === "INPUT" && node.type !== "hidden") return true;
  return false;
}

function take(from, to) {
  if (from.nodeType !== 1) {
    if (to.nodeValue !== from.nodeValue) to.nodeValue = from.nodeValue;
    return;
  }
  if (to.dataset.keep && from.dataset.keep === to.dataset.keep) return;
  const marked = to.classList.contains("at") && to.hasAttribute("data-item");
  takeAttributes(from, to);
  if (marked) to.classList.add("at");
  if (to.nodeName === "TEXTAREA" || to.nodeName === "SELECT") return;
  takeChildren(from, to);
}

function takeChildren(from, to) {
  const byKey = new Map();
  for (const child of to.childNodes) if (keyOf(child)) byKey.set(keyOf(child), child);
  let at = to.firstChild;
  for (const wanted of [...from.childNodes]) {
    const key = keyOf(wanted);
    let found = key ? byKey.get(key) : null;
    if (!found && !key && at && !keyOf(at) && alike(at, wanted)) found = at;
    if (found && alike(found, wanted)) {
      if (found === at) at = at.nextSibling;
      else to.insertBefore(found, at);
      take(wanted, found);
    } else {
      to.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// --- Looking again ---

function lookSoon() {
  if (document.hidden) {
    state.behind = true;
    return;
  }
  if (state.timer) return;
  const pause = Math.max(0, state.last + PAUSE - performance.now());
  state.timer = setTimeout(look, pause);
}

async function look() {
  state.timer = null;
  state.last = performance.now();
  const address = new URL(location.href);
  address.searchParams.set("fragment", "main");
  address.hash = "";
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" }, credentials: "same-origin" });
    if (answer.status === 401) return say("lost", "signed out: run nightcrew open for a new link");
    if (!answer.ok) return;
    const holder = document.createElement("template");
    holder.innerHTML = await answer.text();
    const fresh = holder.content.querySelector("main");
    if (!fresh) return;
    take(fresh, main());
    document.title = main().dataset.title || document.title;
    const count = document.getElementById("inbox-count");
    if (count) {
      count.textContent = main().dataset.inbox;
      count.dataset.n = main().dataset.inbox;
    }
    tailAll();
  } catch {
    // The stream says when the server is back.
  }
}

function say(kind, words) {
  const live = document.getElementById("live");
  if (!live || live.dataset.state === kind) return;
  live.dataset.state = kind;
  live.textContent = words;
}

function listen() {
  const { stream, kinds } = main().dataset;
  if (stream === undefined) return;
  const wanted = new Set((kinds || "").split(" "));
  const source = new EventSource("/stream" + (stream ? "?" + stream : ""));
  state.source = source;
  source.addEventListener("ready", () => {
    const back = document.getElementById("live")?.dataset.state === "lost";
    say("on", "live");
    if (back) lookSoon();
  });
  source.addEventListener("update", (event) => {
    const update = JSON.parse(event.data);
    if (update.changed === "log") tailAll();
    else if (wanted.has(update.changed)) lookSoon();
  });
  source.addEventListener("lagged", lookSoon);
  source.addEventListener("error", () => say("lost", "connection lost, trying again"));
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden || !state.behind) return;
  state.behind = false;
  lookSoon();
});
addEventListener("pagehide", () => state.source?.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());

// --- Output of running steps ---

function tailAll() {
  for (const box of document.querySelectorAll("[data-tail]")) tail(box);
}

async function tail(box) {
  const known = state.tailing.get(box.id) || { from: 0, busy: false, again: false };
  state.tailing.set(box.id, known);
  if (known.busy) {
    known.again = true;
    return;
  }
  known.busy = true;
  try {
    const answer = await fetch(`${box.dataset.tail}&from=${known.from}`, { credentials: "same-origin" });
    if (answer.ok) {
      const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 30;
      known.from = Number(answer.headers.get("x-next")) || known.from;
      box.insertAdjacentHTML("beforeend", await answer.text());
      while (box.childElementCount > 1500) box.firstElementChild.remove();
      if (atEnd) box.scrollTop = box.scrollHeight;
    }
  } catch {
    // Asked again with the next line.
  }
  setTimeout(() => {
    known.busy = false;
    if (known.again) {
      known.again = false;
      tail(box);
    }
  }, 250);
}

// --- Times ---

function ago(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return null;
}

setInterval(() => {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[datetime]")) {
    const words = ago(Math.max(0, Math.round((Date.now() - Date.parse(time.dateTime)) / 1000)));
    if (words && time.textContent !== words) time.textContent = words;
  }
}, 15000);

// --- Keyboard ---

let going = 0;

function move(step) {
  const items = [...document.querySelectorAll("#main [data-item]")].filter((item) => item.checkVisibility?.() ?? true);
  if (!items.length) return;
  const now = items.findIndex((item) => item.classList.contains("at"));
  const next = items[Math.min(items.length - 1, Math.max(0, now === -1 ? (step > 0 ? 0 : items.length - 1) : now + step))];
  items[now]?.classList.remove("at");
  next.classList.add("at");
  (next.querySelector("a.item") || next.querySelector("a"))?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function approve() {
  const task = document.querySelector("[data-item].at[data-task]")?.dataset.task || location.pathname.match(/^\/tasks\/(tsk_[0-9a-f]{32})$/)?.[1];
  const fitting = task && (document.querySelector("[data-approve]") || document.querySelector(`[data-task="${task}"]`));
  if (fitting) location.href = `/tasks/${task}/confirm/approve`;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (performance.now() - going < 1200) {
    going = 0;
    const place = document.querySelector(`.top nav a[data-key="${CSS.escape(event.key)}"]`);
    if (place) {
      event.preventDefault();
      location.href = place.href;
    }
    return;
  }
  switch (event.key) {
    case "/":
      event.preventDefault();
      document.getElementById("search")?.focus();
      break;
    case "g":
      going = performance.now();
      break;
    case "j":
      move(1);
      break;
    case "k":
      move(-1);
      break;
    case "a":
      approve();
      break;
    case "?":
      document.querySelector(".foot")?.scrollIntoView({ block: "end" });
      break;
  }
});

listen();
tailAll();
