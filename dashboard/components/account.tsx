"use client";

import {
  ArrowRightStartOnRectangleIcon,
  ComputerDesktopIcon,
  MoonIcon,
  QuestionMarkCircleIcon,
  SunIcon,
} from "@heroicons/react/24/outline";
import { useEffect, useState } from "react";
import { request } from "@/lib/api";
import { BASE_PATH } from "@/lib/nav";
import { useMe } from "@/lib/session";
import { setTheme, type Theme, theme } from "@/lib/theme";
import { Badge } from "./badge";
import { Button } from "./button";
import { useTell } from "./toast";

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const ICONS = { system: ComputerDesktopIcon, light: SunIcon, dark: MoonIcon };

/** Whose data this is, as whom, and how to leave. */
export function Account() {
  const me = useMe();
  const tell = useTell();
  const leave = async () => {
    try {
      await request("POST", "/auth/logout", { body: {} });
      window.location.assign(`${BASE_PATH}/login/`);
    } catch (error) {
      tell(error instanceof Error ? error.message : "That did not work.", "bad");
    }
  };
  return (
    <div className="ml-auto flex min-w-0 items-center gap-1">
      <span className="flex min-w-0 items-center gap-2 text-sm">
        <span className="truncate font-medium" title={`Organisation ${me.org_id}, user ${me.user_id ?? "none"}`}>
          {me.org_id}
        </span>
        <Badge className="max-[400px]:hidden">{me.role}</Badge>
      </span>
      <ThemeButton />
      <Button
        kind="quiet"
        size="icon"
        className="hidden sm:inline-flex"
        aria-label="Keyboard shortcuts"
        onClick={() => window.dispatchEvent(new Event("asahi:help"))}
      >
        <QuestionMarkCircleIcon aria-hidden="true" className="size-5" />
      </Button>
      {me.csrf && (
        <Button
          kind="quiet"
          size="icon"
          aria-label="Log out"
          title={`Logged in as ${me.user_id ?? "-"}`}
          onClick={leave}
        >
          <ArrowRightStartOnRectangleIcon aria-hidden="true" className="size-5" />
        </Button>
      )}
    </div>
  );
}

export function ThemeButton() {
  const [shown, setShown] = useState<Theme>("system");
  useEffect(() => setShown(theme()), []);
  const Icon = ICONS[shown];
  return (
    <Button
      kind="quiet"
      size="icon"
      aria-label={`Theme: ${shown}. Change to ${NEXT[shown]}`}
      onClick={() => {
        setTheme(NEXT[shown]);
        setShown(NEXT[shown]);
      }}
    >
      <Icon aria-hidden="true" className="size-5" />
    </Button>
  );
}
