"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Badge } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Choice, Field, input, Switch } from "@/components/field";
import { Page } from "@/components/page";
import { Loaded, Refused } from "@/components/states";
import { Tabs } from "@/components/tabs";
import { useTell } from "@/components/toast";
import { type ApiError, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { time } from "@/lib/numbers";
import { useQueryState } from "@/lib/range";
import { useCan } from "@/lib/session";
import { KeyList } from "../governance/keys/list";
import { GROUPS, readValue, type Setting, shown, type Value, type Values } from "./fields";
import { Notifications } from "./notifications";
import { Sessions } from "./sessions";

interface Settings {
  version: number;
  updated_at: string | null;
  updated_by: string | null;
  display_only: string[];
  not_enforced: string[];
  [group: string]: unknown;
}

/** What is not a group of settings. */
const OTHERS: Record<string, { name: string; content: () => ReactNode }> = {
  keys: { name: "API keys", content: () => <KeyList own /> },
  sessions: { name: "Logins", content: () => <Sessions /> },
};

export default function SettingsPage() {
  const [asked, ask] = useQueryState();
  const wanted = asked.get("tab") ?? "general";
  const tab = wanted in GROUPS || wanted in OTHERS ? wanted : "general";
  const found = useAnswer<Settings>("/settings");
  return (
    <Page
      title="Settings"
      note="What the organisation wants of the gateway. What its operator fixed is in the gateway's file."
    >
      <Tabs
        label="Settings"
        tabs={Object.entries({ ...GROUPS, ...OTHERS }).map(([id, { name }]) => ({ id, name }))}
        open={tab}
        change={(next) => ask({ tab: next })}
      />
      {OTHERS[tab]?.content() ?? (
        <Loaded query={found} height="min-h-96">
          {(settings) => <Group key={`${tab} ${settings.version}`} name={tab} settings={settings} />}
        </Loaded>
      )}
      {tab === "general" && <Notifications />}
    </Page>
  );
}

/** One group: only what was changed is sent, and only in the place of the version that was read. */
function Group({ name, settings }: { name: string; settings: Settings }) {
  const manages = useCan("manage_policy");
  const tell = useTell();
  const client = useQueryClient();
  const [changed, setChanged] = useState<Values>({});
  const kept = settings[name] as Values;
  const group = GROUPS[name];
  const call = { body: { [name]: changed }, headers: { "if-match": String(settings.version) } };
  const count = Object.keys(changed).length;
  const save = useMutation<Settings, ApiError>({
    mutationFn: () => request("PUT", "/settings", call),
    onSuccess: async (told) => {
      tell(`Saved as version ${told.version}`);
      await client.invalidateQueries({ queryKey: ["/settings"] });
    },
    onError: async (error) => {
      if (error.status !== 409) return;
      tell("Somebody saved meanwhile: here is what holds now. Nothing of yours was saved.", "bad");
      await client.invalidateQueries({ queryKey: ["/settings"] });
    },
  });
  const set = (key: string, value: Value) => {
    const { [key]: _, ...others } = changed;
    setChanged(JSON.stringify(value) === JSON.stringify(kept[key]) ? others : { ...others, [key]: value });
  };
  if (!group) return null;
  return (
    <Card
      title={group.name}
      note={
        settings.updated_at
          ? `Version ${settings.version}, saved ${time(settings.updated_at)} by ${settings.updated_by ?? "somebody unknown"}`
          : "Nothing was ever changed: these are the defaults."
      }
      actions={manages && count > 0 ? <Curl method="PUT" path="/settings" call={call} /> : <Curl path="/settings" />}
    >
      <form
        className="space-y-5"
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate();
        }}
      >
        <div className="grid items-start gap-5 sm:grid-cols-2">
          {group.fields.map((setting) => (
            <div key={setting.key} className="min-w-0 space-y-1">
              <Control
                setting={setting}
                value={setting.key in changed ? changed[setting.key] : kept[setting.key]}
                locked={!manages}
                set={(value) => set(setting.key, value)}
              />
              {settings.not_enforced.includes(`${name}.${setting.key}`) && (
                <Badge tone="warn">kept, but not in force yet</Badge>
              )}
              {settings.display_only.includes(`${name}.${setting.key}`) && <Badge>for display only</Badge>}
            </div>
          ))}
        </div>
        {save.error && save.error.status !== 409 && <Refused error={save.error} />}
        {manages && (
          <div className="flex flex-wrap items-center justify-end gap-2 border-t border-line pt-4">
            <span className="mr-auto text-sm text-muted">
              {count === 0 ? "Nothing changed" : `${count} ${count === 1 ? "change" : "changes"} not saved`}
            </span>
            <Button disabled={count === 0} onClick={() => setChanged({})}>
              Discard
            </Button>
            <Button type="submit" kind="primary" disabled={count === 0 || save.isPending}>
              {save.isPending ? "Saving…" : "Save"}
            </Button>
          </div>
        )}
      </form>
    </Card>
  );
}

function Control({
  setting,
  value,
  locked,
  set,
}: {
  setting: Setting;
  value: Value | undefined;
  locked: boolean;
  set: (next: Value) => void;
}) {
  const [typed, setTyped] = useState<string | null>(null);
  const { label, hint, kind } = setting;
  if (kind === "switch") {
    return <Switch label={label} hint={hint} checked={value === true} disabled={locked} change={set} />;
  }
  if (kind === "choice") {
    return (
      <Choice label={label} value={String(value)} options={setting.options ?? {}} disabled={locked} change={set} />
    );
  }
  return (
    <Field label={label} hint={hint}>
      {(id, told) => (
        <input
          id={id}
          className={input}
          type={kind === "number" ? "number" : "text"}
          min={setting.least}
          max={setting.most}
          step={setting.step}
          disabled={locked}
          aria-describedby={told}
          value={typed ?? shown(value)}
          onChange={(event) => {
            setTyped(event.target.value);
            set(readValue(setting, event.target.value));
          }}
          onBlur={() => setTyped(null)}
        />
      )}
    </Field>
  );
}
