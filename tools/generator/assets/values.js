// One value: what is wrong with it, and how Python writes it.
const WHOLE = /^[+-]?\d+(\.0+)?$/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const SPECIAL = /^[+-]?(inf|infinity|nan)$/i;
const DURATION = /^(?:(\d+(?:\.\d+)?)h)?\s*(?:(\d+(?:\.\d+)?)m)?\s*(?:(\d+(?:\.\d+)?)s)?$/i;
const HOST_PORT = /^(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/,[\]]+):(\d{1,5})$/;
const WEEK = 7 * 24 * 3600;
const BOUNDS = {
  ge: ["at least", (value, bound) => value >= bound],
  gt: ["more than", (value, bound) => value > bound],
  le: ["at most", (value, bound) => value <= bound],
  lt: ["less than", (value, bound) => value < bound],
};

const asFloat = (text) => {
  const trimmed = text.trim();
  if (NUMBER.test(trimmed)) return Number(trimmed);
  if (!SPECIAL.test(trimmed)) return null;
  return /nan/i.test(trimmed) ? NaN : trimmed.startsWith("-") ? -Infinity : Infinity;
};
const asWhole = (text) => BigInt(text.replace(/^\+/, "").replace(/\.0+$/, ""));
// 1h30m and the like, or a plain number.
const asSeconds = (text) => {
  const [, ...parts] = text.trim().match(DURATION) || [];
  if (!parts.some(Boolean)) return asFloat(text);
  return parts.reduce((sum, part, at) => sum + Number(part || 0) * [3600, 60, 1][at], 0);
};
const areSizes = (parts) => parts.every((part) => /^\d+$/.test(part) && BigInt(part) > 0n);

// How the text of an option that the schema parses has to look. What to say of a text that
// does not comes from the schema itself, as "malformed".
const WELL_FORMED = {
  dim: (text) => {
    const parts = text.split(":");
    return parts.length <= 3 && areSizes(parts)
      && (parts.length === 1 || BigInt(parts[0]) <= BigInt(parts[1]));
  },
  shape: (text) => text === "" || text.split("x").every((part) => /^(\?|\d+)$/.test(part)),
  range: (text) => {
    const at = text.indexOf(":");
    const [low, high] = [asFloat(text.slice(0, Math.max(at, 0))), asFloat(text.slice(at + 1))];
    return at >= 0 && low !== null && high !== null && low < high && Number.isFinite(high - low);
  },
  fill: (text) => ["ones", "zeros", "nan"].includes(text) || asFloat(text) !== null,
  distribution: (text) => ["uniform", "normal"].includes(text),
  image_size: (text) => {
    const parts = text.trim().toLowerCase().split("x");
    return parts.length <= 2 && areSizes(parts);
  },
  image_mean: (text) => {
    const numbers = text.split(",").map(asFloat);
    return [1, 3].includes(numbers.length) && !numbers.includes(null);
  },
  devices: (text) => {
    const parts = text.split(",").map((part) => part.trim());
    return text.trim().toLowerCase() === "all"
      || (parts.every((part) => /^\d+$/.test(part)) && new Set(parts.map(BigInt)).size === parts.length);
  },
  endpoint: (text) => {
    const parts = text.split(",").map((part) => part.trim());
    const ports = parts.map((part) => Number(part.match(HOST_PORT)?.[1]));
    return ports.every((port) => port >= 1 && port <= 65535) && new Set(parts).size === parts.length;
  },
  ray_address: (text) => /^(auto|local)$/.test(text) || HOST_PORT.test(text),
  header: (text) => {
    const { pairs } = parsePairs(text);
    const names = (pairs || []).map(([name]) => name.toLowerCase());
    return pairs !== undefined && new Set(names).size === names.length
      && names.every((name) => /^[0-9a-z_.-]+$/.test(name) && !/^grpc-|-bin$/.test(name))
      && pairs.every(([, value]) => /^[\x20-\x7e]*$/.test(value));
  },
  image_scale: (text) => WELL_FORMED.image_mean(text) && !text.split(",").map(asFloat).includes(0),
  budget: (text) => {
    const seconds = asSeconds(text);
    return seconds !== null && seconds >= 1 && seconds <= WEEK;
  },
};

// NAME=VALUE,... as a list of pairs, or what is wrong with it.
function parsePairs(text) {
  const pairs = [];
  for (const part of text.split(",").map((each) => each.trim()).filter(Boolean)) {
    const at = part.indexOf("=");
    const name = part.slice(0, Math.max(at, 0)).trim();
    if (!name) return { problem: `expected NAME=VALUE, got '${part}'` };
    if (pairs.some(([known]) => known === name)) return { problem: `${name} is given twice` };
    pairs.push([name, part.slice(at + 1).trim()]);
  }
  return { pairs };
}

function malformed(flag, option, text, name) {
  if (!option.malformed || WELL_FORMED[flag](text)) return "";
  return option.malformed.replace("{value}", `'${text}'`).replace("NAME", name);
}

function wrongNumber(option, text) {
  if (option.auto && text.toLowerCase() === "auto") return "";
  const whole = option.kind === "int";
  const unit = option.unit ? ` ${option.unit}` : "";
  if (!(whole ? WHOLE : NUMBER).test(text)) {
    return `'${text}' is not a ${whole ? "whole " : ""}number${option.auto ? " or auto" : ""}`;
  }
  const value = whole ? asWhole(text) : Number(text);
  for (const [bound, [words, holds]] of Object.entries(BOUNDS)) {
    if (bound in option) {
      const limit = whole ? BigInt(option[bound]) : Number(option[bound]);
      if (!holds(value, limit)) return `has to be ${words} ${limit}${unit}, not ${text}`;
    }
  }
  return Number.isFinite(Number(text)) ? "" : `'${text}' is too large`;
}

// What is wrong with the text of an option by itself; empty if nothing.
function wrongValue(flag, option, text) {
  if (option.kind === "int" || option.kind === "float") return wrongNumber(option, text);
  if (option.kind === "pairs") {
    const { pairs, problem } = parsePairs(text);
    if (problem) return problem;
    if (!pairs.length) return "expected NAME=VALUE";
    return pairs.map(([name, value]) => malformed(flag, option, value, name)).find(Boolean) || "";
  }
  const values = option.kind === "bool" ? ["True", "False"] : option.choices;
  if (values.length && !values.includes(text)) return `choose one of: ${values.join(", ")}`;
  if (option.path && text.startsWith("~")) return "write the whole path; ~ is not expanded here";
  return malformed(flag, option, text, "");
}

const quoted = (text) => JSON.stringify(text);

// The value as Python writes it, with the type that the schema has for it.
function pythonValue(flag, option, text) {
  if (option.kind === "bool") return text;
  if (option.auto && text.toLowerCase() === "auto") return quoted("auto");
  if (option.kind === "int") return String(asWhole(text));
  if (option.kind === "float") return text.replace(/^([+-]?)0+(?=\d)/, "$1");
  if (option.kind !== "pairs") return quoted(text);
  const one = (value) => (flag === "dim" && /^\d+$/.test(value) ? String(BigInt(value)) : quoted(value));
  const pairs = parsePairs(text).pairs.map(([name, value]) => `${quoted(name)}: ${one(value)}`);
  return `{${pairs.join(", ")}}`;
}
