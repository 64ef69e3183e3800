export type Theme = "light" | "dark" | "system";

/** Runs before the first paint, so that the page never flashes. */
export const THEME_SCRIPT = `(function(){try{var t=localStorage.getItem("asahi-theme");var d=t==="dark"||(t!=="light"&&matchMedia("(prefers-color-scheme: dark)").matches);document.documentElement.classList.toggle("dark",d)}catch(e){}})()`;

export function theme(): Theme {
  try {
    const kept = localStorage.getItem("asahi-theme");
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system";
  }
}

export function setTheme(next: Theme): void {
  try {
    if (next === "system") localStorage.removeItem("asahi-theme");
    else localStorage.setItem("asahi-theme", next);
  } catch {
    // A browser that keeps nothing still shows it.
  }
  const dark = next === "dark" || (next === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.classList.toggle("dark", dark);
}
