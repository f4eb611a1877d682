// The form, the address and the commands follow each other.
const facts = JSON.parse(document.getElementById("facts").textContent);
const form = document.getElementById("form");
const byId = (id) => document.getElementById(id);
const controls = [...form.elements].filter((control) => control.name);
const names = [...new Set(controls.map((control) => control.name))];
const initial = Object.fromEntries(names.map((name) => [name, valueOf(name)]));
let strange = [];

function valueOf(name) {
  const control = form.elements[name];
  return control.type === "checkbox" ? (control.checked ? "1" : "") : control.value.trim();
}

function setValue(name, value) {
  const control = form.elements[name];
  if (control.type === "checkbox") control.checked = value === "1";
  else if (!(control instanceof RadioNodeList)) control.value = value;
  else for (const radio of control) radio.checked = radio.value === value;
  return valueOf(name) === value.trim();
}

function chosenNow() {
  return Object.fromEntries(names.map((name) => [name, valueOf(name)]).filter(([, value]) => value));
}

function readAddress() {
  if (location.hash === "#commands") return;
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of names) setValue(name, initial[name]);
  strange = [...given].filter(([name, value]) => !names.includes(name) || !setValue(name, value));
  for (const group of document.querySelectorAll("details.group")) {
    if ([...group.querySelectorAll("[name]")].some((control) => given.has(control.name))) group.open = true;
  }
  show();
}

function address() {
  const given = new URLSearchParams();
  for (const name of names) if (valueOf(name) !== initial[name]) given.set(name, valueOf(name));
  return given.size ? `#${given}` : "";
}

function markWrong(wrong) {
  for (const name of names) {
    const place = byId(`e-${name}`);
    const said = wrong[name] ?? "";
    if (place.textContent !== said) place.textContent = said;
    place.hidden = !said;
    for (const control of document.getElementsByName(name)) {
      if (said) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    }
  }
}

function showVerdict(wrong) {
  const place = byId("verdict");
  const count = Object.keys(wrong).length + strange.length;
  place.classList.toggle("wrong", count > 0);
  byId("jump").textContent = count ? `Commands: ${count} wrong` : "Commands";
  byId("jump").parentElement.classList.toggle("wrong", count > 0);
  if (!count) {
    place.textContent = "Ready to use.";
    return;
  }
  const list = document.createElement("ul");
  for (const [name, said] of Object.entries(wrong)) {
    const link = document.createElement("a");
    link.href = `#f-${name}`;
    link.textContent = name.startsWith("_") ? name : `--${name}`;
    link.addEventListener("click", (event) => goTo(event, name));
    const item = document.createElement("li");
    item.append(link, `: ${said}`);
    list.append(item);
  }
  for (const [name, value] of strange) {
    const item = document.createElement("li");
    item.textContent = `the link gives ${name}=${value}, which this page does not know`;
    list.append(item);
  }
  place.replaceChildren("Not to be used yet:", list);
}

function goTo(event, name) {
  event.preventDefault();
  const [control] = document.getElementsByName(name);
  const group = control.closest("details");
  if (group) group.open = true;
  if (control.closest("[hidden]")) clearFilter();
  control.focus();
}

function showCommands(chosen, usable) {
  const off = "# not to be used: something above is wrong";
  const plain = usable ? plainCommand(facts, chosen) : {};
  const texts = {
    cm: usable ? cmCommand(facts, chosen) : off,
    python: usable ? pythonCall(facts, chosen) : off,
    plain: usable ? plain.command ?? `# ${plain.why}` : off,
  };
  for (const [id, text] of Object.entries(texts)) {
    const unusable = text.startsWith("# ");
    byId(id).replaceChildren(...(id === "python" ? [text] : inWords(text)));
    byId(id).parentElement.classList.toggle("off", unusable);
    document.querySelector(`[data-copy="${id}"]`).disabled = unusable;
  }
  byId("plain-note").textContent = plain.note ?? "";
  byId("plain-note").hidden = !plain.note;
}

// So that a line ends between the words of a command and not after a hyphen.
function inWords(text) {
  return text.split(" ").flatMap((part, index) => {
    const span = document.createElement("span");
    span.textContent = part;
    return index ? [" ", span] : [span];
  });
}

function countSet() {
  for (const group of document.querySelectorAll("details.group")) {
    const set = [...group.querySelectorAll("[name]")].filter((control) => valueOf(control.name)).length;
    group.querySelector(".count").textContent = set ? `(${set} set)` : "";
  }
}

function show() {
  const chosen = chosenNow();
  const wrong = findWrong(facts, chosen);
  markWrong(wrong);
  showVerdict(wrong);
  showCommands(chosen, Object.keys(wrong).length + strange.length === 0);
  countSet();
}

function clearFilter() {
  byId("filter").value = "";
  byId("only-set").checked = false;
  filter();
}

function filter() {
  const words = byId("filter").value.toLowerCase().replace(/^--/, "").split(/\s+/).filter(Boolean);
  const onlySet = byId("only-set").checked;
  let found = 0;
  for (const group of document.querySelectorAll("details.group")) {
    let inGroup = 0;
    for (const option of group.querySelectorAll(".option")) {
      const text = option.textContent.toLowerCase();
      const wanted = words.every((each) => text.includes(each))
        && (!onlySet || valueOf(option.dataset.flag) !== "");
      option.hidden = !wanted;
      inGroup += wanted;
    }
    group.hidden = !inGroup;
    if (words.length || onlySet) group.open = inGroup > 0;
    found += inGroup;
  }
  byId("found").textContent = words.length || onlySet ? `${found} flag${found === 1 ? "" : "s"}` : "";
}

async function copy(button, text) {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false)
    || copyBySelection(text);
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  button.textContent = done ? "Copied" : "Not copied: select it by hand";
  byId("copied").textContent = button.textContent;
  setTimeout(() => {
    button.textContent = label;
    byId("copied").textContent = "";
  }, 2000);
}

// Where the browser offers no clipboard to a page from a file, or the user has said no.
function copyBySelection(text) {
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}

form.addEventListener("input", (event) => {
  if (!event.target.name) return;
  strange = [];
  history.replaceState(null, "", address() || location.pathname + location.search);
  show();
});
form.addEventListener("submit", (event) => event.preventDefault());
byId("filter").addEventListener("input", filter);
byId("only-set").addEventListener("change", filter);
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button, byId(button.dataset.copy).textContent));
}
byId("link").addEventListener("click", (event) =>
  copy(event.target, location.href.split("#")[0] + address()));
byId("reset").addEventListener("click", () => {
  history.replaceState(null, "", location.pathname + location.search);
  clearFilter();
  readAddress();
});
window.addEventListener("hashchange", readAddress);
readAddress();
