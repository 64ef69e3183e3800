"use client";

/** Single keys as commands: whether the reader wants them, and when they are meant as one. */

const KEPT = "asahi-shortcuts";

export function keysOn(): boolean {
  try {
    return localStorage.getItem(KEPT) !== "off";
  } catch {
    return true;
  }
}

export function turnKeys(on: boolean): void {
  try {
    localStorage.setItem(KEPT, on ? "on" : "off");
  } catch {
    // Kept for this page only.
  }
}

/** Not with another key held down, and not while one writes. */
export function meant(event: KeyboardEvent): boolean {
  const at = event.target as HTMLElement;
  return !(event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName));
}
