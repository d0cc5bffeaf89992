// What pages can't do by themselves: live counts and lists, keys, ranges, drafts that save themselves, uploads.
// Every page works without this file; nothing here is the only way to do something.

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (name, attributes = {}, ...inside) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...inside);
  return element;
};

// A line that is read out, too.
const live = make("p", { class: "told", role: "status", hidden: true });
const tell = (...text) => {
  live.replaceChildren(...text);
  live.hidden = text.length === 0;
};

const form = one("form.write");
const list = one("form.list");
const main = one("main");
if (main) main.prepend(live);

// The list ---------------------------------------------------------------------------------------

const rows = () => all("li.message", list);
const boxes = () => all("input[name=m]", list);
let last = null; // The box that was clicked last: a range begins there.

const select = (choose) => {
  for (const box of boxes()) box.checked = choose(box);
  counted();
};

const every = make("input", { type: "checkbox", "aria-label": "Select all" });
const counted = () => {
  const chosen = boxes().filter((box) => box.checked).length;
  every.checked = chosen > 0 && chosen === boxes().length;
  every.indeterminate = chosen > 0 && !every.checked;
};

const inList = () => {
  const bar = one(".bar", list);
  bar.prepend(make("label", { class: "every", title: "Select all" }, every));
  every.addEventListener("change", () => select(() => every.checked));
  list.addEventListener("click", (event) => {
    const box = event.target;
    if (box.name !== "m") return;
    const known = boxes();
    const [from, to] = [known.findIndex((other) => other.value === last), known.indexOf(box)];
    if (event.shiftKey && from >= 0) {
      for (const other of known.slice(Math.min(from, to), Math.max(from, to) + 1)) other.checked = box.checked;
    }
    last = box.value;
    counted();
  });
};

// Takes the list anew, and keeps what is selected and where one is.
let loading = false;
const reload = async () => {
  if (!list || loading) return;
  loading = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const chosen = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
    const at = document.activeElement?.closest("li.message")?.querySelector("input[name=m]")?.value;
    for (const part of ["ul.messages", "nav.pages"]) {
      const [old, fresh] = [one(part, list), one(part, page)];
      if (old && fresh) old.replaceWith(fresh);
    }
    const [empty, none] = [one("p.empty", list), one("form.list p.empty", page)];
    if (empty && !none) empty.remove();
    if (!empty && none) one(".bar", list).after(none);
    for (const box of boxes()) box.checked = chosen.has(box.value);
    if (at) rows().find((row) => one("input", row).value === at)?.querySelector("a").focus();
    counted();
  } finally {
    loading = false;
  }
};

// What happens elsewhere -------------------------------------------------------------------------

const known = new Map();
const heard = ({ type, data }) => {
  if (type === "folders") {
    // Names changed: the next page shows them; a reload now would take away what is being written.
    if (!form) refreshFolders();
    return;
  }
  const link = all("nav.folders a").find((link) => link.getAttribute("href") === data.path);
  if (!link) return;
  let count = one(".count", link);
  if (data.unseen > 0 && !count) link.append((count = make("span", { class: "count", title: "unread" })));
  if (count) {
    count.textContent = data.unseen;
    if (data.unseen === 0) count.remove();
  }
  const before = known.get(data.path);
  known.set(data.path, data);
  if (link.getAttribute("aria-current") && list) {
    const name = one("h1", list)?.textContent ?? "";
    document.title = data.unseen > 0 ? `(${data.unseen}) ${name}` : name;
    // The first word tells how it stands: the page may be older than that.
    if (before || Number(list.dataset.next) !== data.next || Number(list.dataset.unseen) !== data.unseen) reload();
  }
};

const refreshFolders = async () => {
  // What this page is about may be gone.
  const answer = await fetch("/folders", { redirect: "error" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [old, fresh] = [one("nav.folders ul"), one("nav.folders ul", page)];
  if (!old || !fresh) return;
  const current = one("a[aria-current]", old)?.getAttribute("href");
  all("a", fresh).find((link) => link.getAttribute("href") === current)?.setAttribute("aria-current", "page");
  old.replaceWith(fresh);
};

// One tab has the stream, and tells the others: browsers open only six connections to a host.
const listen = () => {
  const channel = new BroadcastChannel("pillarbox");
  channel.addEventListener("message", (event) => heard(event.data));
  const open = () =>
    new Promise((over) => {
      const source = new EventSource("/events");
      const pass = (type) => (event) => {
        const news = { type, data: JSON.parse(event.data) };
        heard(news);
        channel.postMessage(news);
      };
      source.addEventListener("folder", pass("folder"));
      source.addEventListener("folders", pass("folders"));
      source.addEventListener("error", () => source.readyState === EventSource.CLOSED && over());
      addEventListener("pagehide", () => (source.close(), over()));
    });
  if (navigator.locks) navigator.locks.request("pillarbox-events", open);
  else open();
};

// Keys, as Gmail has them ------------------------------------------------------------------------

const KEYS = [
  ["j", "next message"], ["k", "message before"], ["o or Enter", "open"], ["u", "back to the list"], ["x", "select"],
  ["* a", "select all"], ["* n", "select none"], ["e", "archive"], ["#", "delete"], ["!", "junk"], ["s", "flag"],
  ["I", "mark read"], ["U", "mark unread"], ["v", "move to a folder"], ["r", "reply"], ["a", "reply to all"], ["f", "forward"],
  ["c", "write"], ["/", "search"], ["z", "undo"], ["g i", "inbox"], ["g d", "drafts"], ["g t", "sent"], ["?", "these keys"],
];

const help = () => {
  const rows = KEYS.map(([key, what]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, what)));
  const box = make("dialog", { class: "keys", "aria-label": "Keys", onclose: () => box.remove() },
    make("form", { method: "dialog" }, make("h2", {}, "Keys"), make("table", { class: "plain" }, ...rows), make("button", {}, "Close")));
  document.body.append(box);
  box.showModal();
};

const go = (step) => {
  const links = all("li.message a");
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement);
  links[Math.min(Math.max(at + step, 0), links.length - 1)].focus();
};
const here = () => document.activeElement?.closest("li.message");
const press = (word) => {
  const place = list ?? one("form.actions");
  if (list && !one("input[name=all]:checked", list) && !boxes().some((box) => box.checked)) {
    const box = here()?.querySelector("input[name=m]");
    if (!box) return;
    box.checked = true;
  }
  one(`button[name=do][value=${word}]`, place)?.click();
};
const follow = (selector) => one(selector)?.click();
const folder = (name) => location.assign(`/m/${name}`);

const ACTS = {
  j: () => go(1), k: () => go(-1), o: () => follow("li.message a:focus"), u: () => follow(".bar > a"),
  x: () => one("input[name=m]", here() ?? main)?.click(), e: () => press("archive"), "#": () => press("delete"),
  "!": () => press("junk"), I: () => press("read"), U: () => press("unread"),
  s: () => press(!list && one("button[value=unflag]") ? "unflag" : "flag"),
  v: () => one("select[name=to]")?.focus(), r: () => follow("a[href^='/compose?reply=']"), a: () => follow("a[href^='/compose?all=']"),
  f: () => follow("a[href^='/compose?forward=']"), c: () => location.assign("/compose"), "/": () => one("input[type=search]")?.focus(),
  z: () => follow("form.told button"), "?": help, "* a": () => select(() => true), "* n": () => select(() => false),
  "g i": () => folder("INBOX"), "g d": () => folder("Drafts"), "g t": () => folder("Sent"),
};
let prefix = "";
const key = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog, [contenteditable]")) return;
  const word = prefix + event.key;
  prefix = prefix === "" && "g*".includes(event.key) ? `${event.key} ` : "";
  if (prefix || !ACTS[word]) return;
  event.preventDefault();
  ACTS[word]();
};

// Writing ----------------------------------------------------------------------------------------

const WAIT = 2000; // From a change to its save, in milliseconds.

const writing = () => {
  const field = (name) => form.elements.namedItem(name);
  const state = make("span", { class: "quiet", role: "status" });
  one(".actions", form).append(state);
  let [timer, saving, changes] = [0, null, 0];

  // What the server says of the draft after it was saved.
  const take = (answer) => {
    field("draft").value = answer.draft;
    field("once")?.remove();
    history.replaceState(null, "", `/compose?draft=${answer.draft}` + (field("answers")
      ? `&answers=${encodeURIComponent(field("answers").value)}&how=${encodeURIComponent(field("how").value)}` : ""));
    let files = one("ul.files", form);
    if (!files) one(".attach", form).before((files = make("ul", { class: "files", "aria-label": "Attachments" })));
    files.replaceChildren(...answer.files.map((file) => make("li", {},
      make("label", {}, make("input", { type: "checkbox", name: "keep", value: file.source, checked: true }), ` ${file.name}`),
      make("span", { class: "quiet" }, ` ${file.size}`))));
    if (answer.conflict) {
      tell("This draft was changed, sent or deleted elsewhere since you opened it. What you write here is kept as another draft.");
    }
  };

  // Sends the form with these files, one after the other, and tells how much of it has gone; gives the request, to end it.
  const post = (word, files, gone = () => {}) => {
    const body = new FormData(form);
    body.delete("file");
    body.append("answer", "json");
    body.append("do", word);
    for (const file of files) body.append("file", file);
    const request = new XMLHttpRequest();
    request.open("POST", "/compose");
    request.responseType = "json";
    const over = new Promise((done, failed) => {
      request.addEventListener("load", () => (request.status === 200 && request.response ? done(request.response) : failed(request.status)));
      for (const event of ["error", "abort", "timeout"]) request.addEventListener(event, () => failed(event));
    });
    // Nobody is told who listens later than this.
    request.upload.addEventListener("progress", (event) => event.lengthComputable && gone(event.loaded / event.total));
    request.send(body);
    return { request, over };
  };

  // Who has logged in again has another token.
  const renew = async () => {
    const answer = await fetch("/compose", { redirect: "error" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    field("token").value = one("form.write input[name=token]", page).value;
  };

  const save = async () => {
    clearTimeout(timer);
    timer = 0;
    if (saving) return saving;
    const before = changes;
    state.textContent = "Saving…";
    saving = post("save", []).over.then(
      (answer) => {
        take(answer);
        state.textContent = "Saved";
        if (changes !== before) later();
      },
      (why) => {
        state.textContent = why === 403 ? "Not saved: you were logged out. Log in in another tab." : "Not saved; tried again soon.";
        if (why === 403) renew().catch(() => {});
        later();
      },
    ).finally(() => (saving = null));
    return saving;
  };
  const later = () => {
    if (!timer) timer = setTimeout(save, WAIT);
  };
  const changed = (event) => {
    if (event.target.name === "file") return;
    changes += 1;
    state.textContent = "";
    later();
  };
  form.addEventListener("input", changed);
  addEventListener("visibilitychange", () => document.hidden && timer && save());

  // A save that is under way gives the draft another name: what is sent must know it.
  let ready = false;
  form.addEventListener("submit", async (event) => {
    clearTimeout(timer);
    timer = 0;
    if (saving && !ready) {
      event.preventDefault();
      await saving;
      ready = true;
      form.requestSubmit(event.submitter);
    }
  });

  // Files: uploaded when they are chosen or dropped.
  const upload = async (files) => {
    if (files.length === 0) return;
    while (saving) await saving;
    const bar = make("progress", { max: 1, value: 0, "aria-label": "Upload" });
    const { request, over } = post("attach", files, (share) => (bar.value = share));
    const cancel = make("button", { type: "button", onclick: () => request.abort() }, "Cancel");
    const names = [...files].map((file) => file.name).join(", ");
    const line = make("p", { class: "upload" }, `${names} `, bar, " ", cancel);
    one(".attach", form).after(line);
    saving = over.then(take, (why) => tell(why === "abort" ? "The upload was cancelled." : why === 413 ? "This is too big to be sent." : "The upload failed."))
      .finally(() => ((saving = null), line.remove()));
    await saving;
  };
  const chooser = field("file");
  chooser.addEventListener("change", async () => {
    const files = [...chooser.files];
    chooser.value = "";
    await upload(files);
  });
  for (const event of ["dragover", "dragenter"]) {
    form.addEventListener(event, (drag) => {
      if (!drag.dataTransfer.types.includes("Files")) return;
      drag.preventDefault();
      form.classList.add("over");
    });
  }
  form.addEventListener("dragleave", (drag) => form.contains(drag.relatedTarget) || form.classList.remove("over"));
  form.addEventListener("drop", (drag) => {
    if (drag.dataTransfer.files.length === 0) return;
    drag.preventDefault();
    form.classList.remove("over");
    upload([...drag.dataTransfer.files]);
  });
};

if (one("nav.folders")) {
  document.addEventListener("keydown", key);
  if (list) inList();
  if (form) writing();
  listen();
}
