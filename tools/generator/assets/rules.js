// What the choices say against each other. `chosen` maps a flag to its text, and `_group` to
// a variation; what was left alone is not in it.
const ANY = "*";

const asWords = (text, chosen) => text.replace(/\{(\w+)\}/g, (_, flag) => chosen[flag] ?? "");

const isDefault = ({ kind, default: usual }, text) =>
  (kind === "int" || kind === "float" ? usual !== "" && Number(text) === Number(usual) : text === usual);

function hasValue({ options }, chosen, flag, wanted) {
  if (!(flag in chosen)) return false;
  if (wanted === ANY) return !isDefault(options[flag], chosen[flag]);
  if (wanted.startsWith("<")) return Number(chosen[flag]) < Number(asWords(wanted.slice(1), chosen));
  return chosen[flag] === wanted;
}

function isBroken(facts, rule, chosen) {
  const helped = Object.entries(rule.needs).some(([flag, values]) =>
    values.some((value) => hasValue(facts, chosen, flag, value)));
  return !helped
    && Object.entries(rule.given).every(([flag, wanted]) => hasValue(facts, chosen, flag, wanted));
}

// What the models of the variations need, which is CM's matter and not the schema's.
function wrongModel(chosen) {
  const model = chosen._models;
  const file = "modelpath" in chosen;
  const hub = "_huggingface" in chosen;
  const stub = chosen["_model-stub"];
  const wrong = {};
  if (file && model && !(model === "custom" && !hub)) {
    wrong.modelpath = `--modelpath and _${model} both name a model; leave one out`;
  } else if (!file && !model && !["fake", "kserve"].includes(chosen.backend ?? chosen._backend)) {
    wrong.modelpath = "name a model: a file here, or one of the variations";
  } else if (!file && model === "custom" && !hub) {
    wrong.modelpath = "_custom without _huggingface needs a file here";
  }
  if (hub && model !== "custom") wrong._huggingface = "_huggingface has no meaning without _custom";
  else if (hub && !stub) wrong["_model-stub"] = "_huggingface needs the name of a model here";
  if (stub && !hub) wrong["_model-stub"] = "_model-stub has no meaning without _huggingface";
  else if (stub && !/^[\w.-]+(\/[\w.-]+)*$/.test(stub)) {
    wrong["_model-stub"] = "expected ORG/NAME: letters, digits, and . _ - /";
  }
  return wrong;
}

// With what the variations give where it is not typed.
function inForce(facts, chosen) {
  const given = Object.entries(facts.groups).map(([group, known]) =>
    known.gives[chosen[`_${group}`] ?? known.default] ?? {});
  return Object.assign({}, ...given, chosen);
}

// Flag, or name of a variation, to what is wrong with it in words.
function findWrong(facts, chosen) {
  const wrong = wrongModel(chosen);
  const all = inForce(facts, chosen);
  const scenario = chosen.scenario ?? facts.options.scenario.default;
  for (const [flag, option] of Object.entries(facts.options)) {
    if (!(flag in chosen)) continue;
    const words = wrongValue(flag, option, chosen[flag]);
    if (words) wrong[flag] ??= words;
    else if (option.scenarios.length && !option.scenarios.includes(scenario)) {
      const where = option.scenarios.join(", ");
      wrong[flag] ??= `has no meaning in the ${scenario} scenario; it applies to ${where}`;
    }
  }
  for (const rule of facts.rules) {
    const flags = Object.keys(rule.given);
    if (isBroken(facts, rule, all) && !flags.some((flag) => flag in wrong)) {
      for (const flag of flags) if (flag in chosen) wrong[flag] = asWords(rule.say, all);
    }
  }
  return wrong;
}
