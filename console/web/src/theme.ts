/**
 * Light or dark: as the system has it, until somebody chooses. Loaded before the first paint, so that nothing flashes.
 */

export type Theme = "system" | "light" | "dark";

const KEY = "millrace-theme";

/** Returns what was chosen. */
export function chosenTheme(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system";
  }
}

/** Returns whether the page is dark now. */
export function isDark(): boolean {
  const shown = document.documentElement.getAttribute("data-theme");
  return shown === null ? matchMedia("(prefers-color-scheme: dark)").matches : shown === "dark";
}

/** Keeps a choice and applies it. */
export function chooseTheme(theme: Theme): void {
  try {
    if (theme === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Without storage the choice holds for this page.
  }
  applyTheme(theme);
}

function applyTheme(theme: Theme): void {
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
}

if (typeof document !== "undefined") applyTheme(chosenTheme());
