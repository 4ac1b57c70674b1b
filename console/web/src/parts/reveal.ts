/**
 * The list of views scrolls sideways on a phone: the view that is shown comes into sight, once, so that scrolling by hand is
 * not undone.
 */

let shown = "";

/** Scrolls the list to the current view. To be called after each drawing. */
export function revealCurrent(root: Element): void {
  const current = root.querySelector('.views [aria-current="page"]');
  const list = current?.closest("ul") ?? null;
  const place = current === null ? "" : location.pathname;
  if (place === shown) return;
  shown = place;
  if (current === null || list === null) return;
  const at = current.getBoundingClientRect();
  const frame = list.getBoundingClientRect();
  if (at.left < frame.left) list.scrollLeft -= frame.left - at.left;
  else if (at.right > frame.right) list.scrollLeft += at.right - frame.right;
}
