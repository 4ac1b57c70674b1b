/**
 * The page as data: views return trees of `VNode`, and `render` makes the document equal to the newest tree.
 *
 * Elements are kept where tag and key stay the same, so that focus, selection and scrolling survive a redraw. Text is only
 * ever set as text: there is no way from a record's bytes to markup.
 */

export type Child = VNode | string | number | null | undefined | false | Child[];

/** Something with a life of its own inside an element, such as a chart. */
export interface Widget<T> {
  mount(element: HTMLElement, value: T): Mounted<T>;
}

export interface Mounted<T> {
  update(value: T): void;
  destroy(): void;
}

type Value = string | number | boolean | null | undefined | ((event: never) => void);

export interface VNode {
  tag: string;
  key: string | number | undefined;
  props: Record<string, Value>;
  children: (VNode | string)[];
  widget: { kind: Widget<unknown>; value: unknown } | undefined;
}

/** Returns a node. Props named `on…` are listeners, `key` tells siblings apart, false and absent props are left out. */
export function h(tag: string, props: Record<string, Value> | null = null, ...children: Child[]): VNode {
  const { key, ...rest } = props ?? {};
  return {
    tag,
    key: typeof key === "string" || typeof key === "number" ? key : undefined,
    props: rest,
    children: flatten(children),
    widget: undefined,
  };
}

/** Returns an element whose inside belongs to a widget. */
export function widget<T>(kind: Widget<T>, value: T, props: Record<string, Value> = {}): VNode {
  return { ...h("div", props), widget: { kind: kind as Widget<unknown>, value } };
}

function flatten(children: Child[]): (VNode | string)[] {
  const flat: (VNode | string)[] = [];
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) flat.push(...flatten(child));
    else flat.push(typeof child === "object" ? child : String(child));
  }
  return flat;
}

const drawn = new WeakMap<Node, VNode>();
const widgets = new WeakMap<Node, Mounted<unknown>>();

/** Makes the content of `root` equal to `children`. */
export function render(root: Element, ...children: Child[]): void {
  patchChildren(root, flatten(children), null);
}

const SVG = "http://www.w3.org/2000/svg";

function create(node: VNode, namespace: string | null): Element {
  const own = node.tag === "svg" ? SVG : namespace;
  const element = own === null ? document.createElement(node.tag) : document.createElementNS(own, node.tag);
  patch(element, node, own);
  return element;
}

function patch(element: Element, node: VNode, namespace: string | null): void {
  const before = drawn.get(element);
  drawn.set(element, node);
  const inside = node.tag === "foreignObject" ? null : namespace;
  if (node.widget === undefined) patchChildren(element, node.children, inside);
  patchProps(element, before?.props ?? {}, node.props);
  if (node.widget === undefined) return;
  const mounted = widgets.get(element);
  if (mounted === undefined) widgets.set(element, node.widget.kind.mount(element as HTMLElement, node.widget.value));
  else mounted.update(node.widget.value);
}

function patchProps(element: Element, before: Record<string, Value>, now: Record<string, Value>): void {
  for (const name of Object.keys(before)) {
    if (!(name in now)) setProp(element, name, undefined);
  }
  for (const [name, value] of Object.entries(now)) {
    // A tick that changed nothing must not stay; but text that is being typed is nobody's to take away.
    if (before[name] !== value || name === "checked") setProp(element, name, value);
  }
}

/** What the user changes too, and attributes therefore do not tell. */
const PROPERTIES = new Set(["value", "checked", "selected", "indeterminate"]);

function setProp(element: Element, name: string, value: Value): void {
  const target = element as unknown as Record<string, unknown>;
  if (name.startsWith("on")) {
    target[name.toLowerCase()] = value ?? null;
  } else if (PROPERTIES.has(name)) {
    const wanted = value ?? (name === "value" ? "" : false);
    if (target[name] !== wanted) target[name] = wanted;
  } else if (value === undefined || value === null || value === false) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

function patchChildren(parent: Element, children: (VNode | string)[], namespace: string | null): void {
  const keyed = new Map<string, Element>();
  const loose: ChildNode[] = [];
  for (const child of parent.childNodes) {
    const node = drawn.get(child);
    if (node?.key === undefined) loose.push(child);
    else keyed.set(identity(node), child as Element);
  }

  let at: ChildNode | null = parent.firstChild;
  const used = new Set<ChildNode>();
  for (const child of children) {
    const found =
      typeof child === "object" && child.key !== undefined ? keyed.get(identity(child)) : takeLoose(loose, child);
    const element = fill(found, child, namespace);
    used.add(element);
    if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
  }
  for (const child of [...parent.childNodes]) {
    if (!used.has(child)) remove(child);
  }
}

function identity(node: VNode): string {
  return `${node.tag} ${String(node.key)}`;
}

/** Takes the next unkeyed sibling that can become `child`; those before it that cannot are given up. */
function takeLoose(loose: ChildNode[], child: VNode | string): ChildNode | undefined {
  const index = loose.findIndex((candidate) => fits(candidate, child));
  if (index < 0) return undefined;
  return loose.splice(0, index + 1)[index];
}

function fits(candidate: ChildNode, child: VNode | string): boolean {
  if (typeof child === "string") return candidate.nodeType === Node.TEXT_NODE;
  const node = drawn.get(candidate);
  return node !== undefined && node.tag === child.tag && node.widget?.kind === child.widget?.kind;
}

function fill(found: ChildNode | undefined, child: VNode | string, namespace: string | null): ChildNode {
  if (typeof child === "string") {
    if (found === undefined) return document.createTextNode(child);
    if (found.nodeValue !== child) found.nodeValue = child;
    return found;
  }
  if (found === undefined) return create(child, namespace);
  patch(found as Element, child, child.tag === "svg" ? SVG : namespace);
  return found;
}

function remove(node: ChildNode): void {
  if (node instanceof Element) {
    for (const inner of node.querySelectorAll("*")) destroyWidget(inner);
    destroyWidget(node);
  }
  node.remove();
}

function destroyWidget(node: Node): void {
  widgets.get(node)?.destroy();
  widgets.delete(node);
}
