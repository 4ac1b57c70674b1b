/**
 * Fields of forms and filters: each with its label, and where there is one its hint and its problem, tied to it for those who
 * hear them.
 */

import { type Child, h, type VNode } from "../dom";

interface FieldOptions {
  id: string;
  label: Child;
  value: string;
  disabled?: boolean;
  required?: boolean;
  hint?: Child;
  /** What is wrong with the value. */
  problem?: string | undefined;
  change(value: string): void;
}

export interface TextOptions extends FieldOptions {
  placeholder?: string;
  type?: string;
  /** Whether it is short, for a number. */
  short?: boolean;
  /** Whether the key `/` goes here. */
  search?: boolean;
  /** Whether `change` is called while one types, and not only at the end. */
  typing?: boolean;
}

/** A value, or a value and how it is called. */
export type Option = string | readonly [string, string];

export interface ChoiceOptions extends FieldOptions {
  options?: readonly Option[];
  /** Options under headings. */
  groups?: readonly { name: string; options: readonly Option[] }[];
  /** Whether the label stands before the field and not above it. */
  beside?: boolean;
}

/** Returns a field for text. */
export function textField(options: TextOptions): VNode {
  const change = (event: Event): void => options.change((event.target as HTMLInputElement).value);
  return around(
    options,
    h("input", {
      ...common(options),
      type: options.type,
      placeholder: options.placeholder,
      class: options.short === true ? "short" : undefined,
      inputmode: options.short === true ? "numeric" : undefined,
      "data-search": options.search === true,
      autocomplete: "off",
      spellcheck: "false",
      [options.typing === true ? "onInput" : "onChange"]: change,
    }),
  );
}

/** Returns a field for one of several values. */
export function choiceField(options: ChoiceOptions): VNode {
  const { value, groups = [], beside } = options;
  const select = h(
    "select",
    { ...common(options), onChange: (event: Event) => options.change((event.target as HTMLSelectElement).value) },
    (options.options ?? []).map((option) => drawOption(option, value)),
    groups.map(({ name, options: inside }) =>
      h(
        "optgroup",
        { label: name, key: name },
        inside.map((option) => drawOption(option, value)),
      ),
    ),
  );
  if (beside === true)
    return h("div", { class: "row", key: options.id }, h("label", { for: options.id }, options.label), select);
  return around(options, select);
}

/** Returns a box to tick. */
export function tick(id: string, label: string, checked: boolean, toggle: () => void, disabled = false): VNode {
  return h(
    "label",
    { class: "check", for: `tick-${id}`, key: `tick-${id}` },
    h("input", { id: `tick-${id}`, type: "checkbox", checked, disabled, onChange: toggle }),
    label,
  );
}

function drawOption(option: Option, chosen: string): VNode {
  const [value, title] = typeof option === "string" ? [option, option] : option;
  return h("option", { value, selected: value === chosen, key: value }, title);
}

function common({
  id,
  value,
  disabled,
  required,
  hint,
  problem,
}: FieldOptions): Record<string, string | boolean | undefined> {
  const described = [hint === undefined ? "" : `${id}-hint`, problem === undefined ? "" : `${id}-problem`];
  return {
    id,
    name: id,
    value,
    disabled,
    required,
    "aria-invalid": problem === undefined ? undefined : "true",
    "aria-describedby": described.join(" ").trim() || undefined,
  };
}

function around({ id, label, required, hint, problem }: FieldOptions, field: VNode): VNode {
  return h(
    "div",
    { class: "field", key: id },
    h("label", { for: id }, label, required === true && h("span", { class: "soft" }, " (needed)")),
    field,
    hint !== undefined && h("span", { class: "hint", id: `${id}-hint` }, hint),
    problem !== undefined && h("span", { class: "field-problem", id: `${id}-problem` }, problem),
  );
}
