/**
 * The form of a source's params: what each field is, and whether what was typed can work. The server checks again; this is so
 * that nobody waits for it. Pure but for the drawing.
 */

import type { VNode } from "../../dom";
import { parseDuration } from "../../format";
import { choiceField, textField } from "../../parts/fields";
import type { ParamView } from "../../types";

export type Values = Record<string, string>;

/** Returns what a form begins with: the defaults, as far as there are some, or the params of an earlier run. */
export function initialValues(params: readonly ParamView[], earlier: Values = {}): Values {
  return Object.fromEntries(params.map(({ name, default: value }) => [name, earlier[name] ?? value ?? ""]));
}

/** Returns why a value cannot be, or nothing. */
export function paramProblem(param: ParamView, value: string): string | undefined {
  if (value === "") return (param.default ?? null) === null ? "A value is needed." : undefined;
  if (param.choices.length > 0 && !param.choices.includes(value)) return `One of: ${param.choices.join(", ")}.`;
  switch (param.type) {
    case "integer":
      return /^[+-]?\d+$/.test(value) ? boundsProblem(param, Number(value)) : "A whole number is needed.";
    case "number":
      return Number.isFinite(Number(value)) && value.trim() === value
        ? boundsProblem(param, Number(value))
        : "A number is needed.";
    case "boolean":
      return value === "true" || value === "false" ? undefined : "true or false.";
    case "timestamp":
      return isMoment(value) ? undefined : "A moment such as 2026-01-31T00:00:00Z is needed.";
    default:
      return matchesPattern(param.pattern, value) ? undefined : `It must look like ${param.pattern ?? ""}.`;
  }
}

function boundsProblem({ minimum, maximum }: ParamView, value: number): string | undefined {
  if (typeof minimum === "number" && value < minimum) return `At least ${minimum}.`;
  if (typeof maximum === "number" && value > maximum) return `At most ${maximum}.`;
  return undefined;
}

function isMoment(value: string): boolean {
  return (
    /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/.test(value) &&
    !Number.isNaN(Date.parse(value))
  );
}

/** Patterns are those of Rust; where the browser reads them otherwise, the server's word counts. */
function matchesPattern(pattern: string | null | undefined, value: string): boolean {
  if (pattern === null || pattern === undefined) return true;
  try {
    return new RegExp(`^(?:${pattern})$`, "u").test(value);
  } catch {
    return true;
  }
}

/** Returns the params that a run is given: all that have a value other than their default. */
export function givenParams(params: readonly ParamView[], values: Values): Values {
  const given = params.filter(({ name, default: value }) => (values[name] ?? "") !== "" && values[name] !== value);
  return Object.fromEntries(given.map(({ name }) => [name, values[name] ?? ""]));
}

/** Returns why a limit's length of time cannot be, or nothing. Empty: no limit. */
export function durationProblem(text: string): string | undefined {
  return text === "" || parseDuration(text) !== undefined ? undefined : "A length of time such as 10m or 1h30m.";
}

/** Returns why a count cannot be, or nothing. Empty: none. */
export function countProblem(text: string, least = 1): string | undefined {
  return text === "" || (/^\d+$/.test(text) && Number(text) >= least) ? undefined : `A whole number from ${least}.`;
}

/** Returns the fields of a source's params. */
export function paramFields(
  params: readonly ParamView[],
  values: Values,
  told: Values,
  change: (name: string, value: string) => void,
): VNode[] {
  return params.map((param) => {
    const value = values[param.name] ?? "";
    const fixed = param.type === "boolean" ? ["true", "false"] : param.choices;
    const required = (param.default ?? null) === null;
    const common = {
      id: `param-${param.name}`,
      label: param.name,
      value,
      required,
      hint: hintOf(param),
      problem: told[param.name] ?? (value === "" ? undefined : paramProblem(param, value)),
      change: (typed: string) => change(param.name, typed),
    };
    if (fixed.length === 0) return textField({ ...common, typing: true });
    return choiceField({ ...common, options: required ? [["", "–"], ...fixed] : fixed });
  });
}

function hintOf({ type, description, minimum, maximum, pattern, default: value }: ParamView): string {
  const low = typeof minimum === "number";
  const high = typeof maximum === "number";
  const range = low && high ? `${minimum} to ${maximum}` : low ? `from ${minimum}` : high ? `up to ${maximum}` : "";
  const parts = [
    description ?? "",
    type,
    range,
    pattern ? `looks like ${pattern}` : "",
    (value ?? null) === null ? "" : `default ${value === "" ? "empty" : (value ?? "")}`,
  ];
  return parts.filter((part) => part !== "").join(" · ");
}
