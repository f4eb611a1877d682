// The three commands, for choices with nothing wrong.
const SAFE = /^[\w@%+=:,./-]+$/;

// One word of a command line of bash or zsh, whatever is in it.
const word = (text) => (SAFE.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const line = (words) => words.map(word).join(" ");

function variations(facts, chosen) {
  const found = [];
  for (const [group, known] of Object.entries(facts.groups)) {
    if (group) {
      const name = chosen[`_${group}`];
      if (name && name !== known.default) found.push(`_${name}`);
    } else {
      for (const name of known.names) {
        const key = `_${name.replace(".#", "")}`;
        if (key in chosen) found.push(name.endsWith(".#") ? `${key}.${chosen[key]}` : key);
      }
    }
  }
  return found;
}

function flagsOf(facts, chosen) {
  return Object.entries(facts.options)
    .filter(([flag]) => flag in chosen)
    .map(([flag, option]) => [flag, option, chosen[flag]]);
}

function cmCommand(facts, chosen) {
  const tags = [...facts.tags, ...variations(facts, chosen)].join(",");
  const flags = flagsOf(facts, chosen).map(([flag, , value]) => `--${flag}=${value}`);
  return line(["cm", "run", "script", `--tags=${tags}`, ...flags, "--quiet"]);
}

function pythonCall(facts, chosen) {
  const tags = [...facts.tags, ...variations(facts, chosen)].join(",");
  const entries = [
    ["action", quoted("run")],
    ["automation", quoted("script")],
    ["tags", quoted(tags)],
    ["out", quoted("con")],
    ["quiet", "True"],
    ...flagsOf(facts, chosen).map(([flag, option, value]) => [flag, pythonValue(flag, option, value)]),
  ];
  return [
    "import cmind",
    "",
    "r = cmind.access({",
    ...entries.map(([key, value]) => `    ${quoted(key)}: ${value},`),
    "})",
    'if r["return"] > 0:',
    '    raise SystemExit(r["error"])',
  ].join("\n");
}

// The command without CM, or why there is none.
function plainCommand(facts, chosen) {
  const model = chosen._models;
  const file = chosen.modelpath;
  if (model && model !== "demo" && !file) {
    const name = "_huggingface" in chosen ? chosen["_model-stub"] : `_${model}`;
    return { why: `${name} is downloaded by CM. Without CM, download it and name the file.` };
  }
  const words = ["loadgen-generic", "run"];
  if (file) words.push(file.startsWith("-") ? `--modelpath=${file}` : file);
  if (model === "demo") words.push("--model=demo");
  const { ep } = facts.groups.device.gives[chosen._device] ?? {};
  if (ep && !("ep" in chosen)) words.push(`--ep=${ep}`);
  for (const [flag, option, value] of flagsOf(facts, chosen)) {
    if (flag === "modelpath") continue;
    if (option.kind === "bool") words.push(value === "True" ? `--${flag}` : `--no-${flag}`);
    else words.push(`--${flag}=${value}`);
  }
  const note = chosen._loadgen === "loadgen-source"
    ? "_loadgen-source has no meaning here: the LoadGen that is installed is used." : "";
  return { command: line(words), note };
}
