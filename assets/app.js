// What the pages do more with scripts. Without them every page works: what needs a script is hidden until this runs.
"use strict";

const all = (selector, within = document) => within.querySelectorAll(selector);
const live = document.getElementById("live");
/** Reads a sentence to people who use a screen reader. */
const announce = (text) => {
  if (live) live.textContent = text;
};

// Buttons that copy: data-copy is the id of the element with the text.
for (const button of all("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) continue;
  button.hidden = false;
  const label = button.querySelector("span") ?? button;
  const before = label.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent.trim());
      label.textContent = button.dataset.done;
      announce(button.dataset.done);
      setTimeout(() => (label.textContent = before), 2000);
    } catch {
      getSelection().selectAllChildren(source);
    }
  });
}

// What only works with scripts.
for (const part of all("[data-script]")) part.hidden = false;

// Exact times in the person's own time zone, and relative ones that stay true while a page is open. They are true when it
// arrives, so that nothing moves then.
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const WEEK = 604800;
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
const timeOf = (time) => new Date(time.dateTime);
for (const time of all("time[datetime]")) {
  if (Number.isNaN(timeOf(time).getTime())) continue;
  time.title = timeOf(time).toLocaleString(document.documentElement.lang, { dateStyle: "full", timeStyle: "long" });
}
setInterval(() => {
  for (const time of all("time[data-relative]")) {
    const seconds = (timeOf(time) - Date.now()) / 1000;
    const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? [];
    if (unit && Math.abs(seconds) < WEEK) time.textContent = relative.format(Math.round(seconds / size), unit);
  }
}, 60000);

// Search as you type: data-filter is the id of a list whose items have their words in data-words.
for (const input of all("input[data-filter]")) {
  const items = all("[data-words]", document.getElementById(input.dataset.filter) ?? document.createElement("p"));
  const none = document.getElementById(`${input.dataset.filter}-none`);
  // In a form that changes something, Enter searches and sends nothing.
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && input.form?.method === "post") event.preventDefault();
  });
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const item of items) {
      item.hidden = !words.every((word) => item.dataset.words.includes(word));
      if (!item.hidden) found += 1;
    }
    for (const group of all("[data-group]")) group.hidden = !group.querySelector("[data-words]:not([hidden])");
    if (none) none.hidden = found > 0;
    announce((input.dataset.found ?? "").replace("{count}", found));
  });
}

// A form that selects rows: one box selects all, and the buttons say how many are selected.
for (const form of all("form[data-select]")) {
  // Not form.id: that is the boxes, which are called id.
  const id = form.getAttribute("id");
  const boxes = () => [...document.querySelectorAll(`input[type=checkbox][form="${id}"][name=id]`)];
  const every = document.querySelector(`input[data-all="${id}"]`);
  const count = form.querySelector("[data-count]");
  const show = () => {
    const chosen = boxes().filter((box) => box.checked).length;
    if (count) count.textContent = (form.dataset.select ?? "").replace("{count}", chosen);
    form.hidden = chosen === 0;
    form.toggleAttribute("data-chosen", chosen > 0);
    if (every) {
      every.checked = chosen > 0 && chosen === boxes().length;
      every.indeterminate = chosen > 0 && !every.checked;
    }
  };
  every?.closest("label")?.removeAttribute("hidden");
  // The buttons appear far from the box, so a screen reader announces them.
  const change = () => {
    show();
    if (count) announce(count.textContent);
  };
  every?.addEventListener("change", () => {
    for (const box of boxes()) box.checked = every.checked;
    change();
  });
  for (const box of boxes()) box.addEventListener("change", change);
  show();
}

// Long work goes on by itself; without scripts its button does.
const next = document.querySelector("form[data-continue]");
if (next) {
  const going = setTimeout(() => next.requestSubmit(), 400);
  next.addEventListener("submit", () => clearTimeout(going));
  for (const link of all("a")) link.addEventListener("click", () => clearTimeout(going));
}

// A confirmation opens over the page; without scripts its link leads to a page.
for (const opener of all("[data-dialog]")) {
  const dialog = document.getElementById(opener.dataset.dialog);
  if (!dialog?.showModal) continue;
  opener.addEventListener("click", (event) => {
    event.preventDefault();
    dialog.showModal();
  });
  for (const close of all("[data-close]", dialog)) {
    close.addEventListener("click", (event) => {
      event.preventDefault();
      dialog.close();
    });
  }
}

// A menu ends with Escape, with a click next to it, and when the keyboard leaves it: it would cover what has the focus then.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details.menu[open]");
  open?.removeAttribute("open");
  open?.querySelector("summary")?.focus();
});
for (const leaving of ["click", "focusin"]) {
  document.addEventListener(leaving, ({ target }) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(target)) menu.removeAttribute("open");
  });
}

// A form whose answer shows a secret once is sent once, also by a double click.
for (const form of all("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  addEventListener("pageshow", () => delete form.dataset.sent);
}

// A selection in a toolbar takes effect at once. By keyboard it does not: each arrow key selects what is next, and the page
// would be gone before the one that is meant. The button beside it does it then.
for (const select of all("select[data-submit]")) {
  let isTyped = false;
  for (const kind of ["keydown", "pointerdown"]) select.addEventListener(kind, () => (isTyped = kind === "keydown"));
  select.addEventListener("change", () => isTyped || select.form.requestSubmit());
}
