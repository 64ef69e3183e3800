"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Button } from "@/components/button";
import { Curl } from "@/components/curl";
import { Choice, Field, input, Switch } from "@/components/field";
import { Modal } from "@/components/modal";
import type { Made } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { useMe } from "@/lib/session";

const SCOPES = {
  infer: "ask models, and give feedback",
  analytics: "read figures and costs",
  admin: "everything that its role may",
};
const ROLES = {
  developer: "Developer: asks models, reads figures and costs",
  viewer: "Viewer: reads figures without money",
  billing: "Billing: reads costs and the audit log, sets budgets",
  admin: "Admin: everything",
};

/** The form of a new key. Its secret comes back once. */
export function NewKey({ open, close, made }: { open: boolean; close: () => void; made: (next: Made) => void }) {
  const me = useMe();
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [user, setUser] = useState(me.user_id ?? "");
  const [role, setRole] = useState("developer");
  const [scopes, setScopes] = useState<string[]>(["infer"]);
  const [days, setDays] = useState("90");
  const body = { user_id: user.trim(), name: name.trim(), role, scopes, expires_in_days: Number(days) };
  const create = useMutation<Made, ApiError>({
    mutationFn: () => request("POST", "/governance/api-keys", { body }),
    onSuccess: async (next) => {
      made(next);
      await client.invalidateQueries({ queryKey: ["/governance/api-keys"] });
    },
  });
  const turn = (scope: string, on: boolean) =>
    setScopes(on ? [...scopes, scope] : scopes.filter((each) => each !== scope));
  return (
    <Modal open={open} close={close} title="Create a key">
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          create.mutate();
        }}
      >
        <Field label="Name" hint="What it is for, such as ci-prod">
          {(id, told) => (
            <input
              id={id}
              required
              maxLength={60}
              className={input}
              value={name}
              aria-describedby={told}
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
        <Field label="User" hint="Lower case letters, digits, _ and -">
          {(id, told) => (
            <input
              id={id}
              required
              pattern="[a-z0-9][a-z0-9_\-]{0,62}"
              className={input}
              value={user}
              aria-describedby={told}
              onChange={(event) => setUser(event.target.value)}
            />
          )}
        </Field>
        <Choice label="Role" value={role} options={ROLES} change={setRole} />
        <fieldset>
          <legend className="mb-1 text-sm font-medium">Scopes, which narrow the role</legend>
          <div className="space-y-2">
            {Object.entries(SCOPES).map(([scope, told]) => (
              <Switch
                key={scope}
                label={scope}
                hint={told}
                checked={scopes.includes(scope)}
                change={(on) => turn(scope, on)}
              />
            ))}
          </div>
        </fieldset>
        <Choice
          label="Expires in"
          value={days}
          options={{ "30": "30 days", "90": "90 days", "180": "180 days", "365": "365 days" }}
          change={setDays}
        />
        {create.error && (
          <p role="alert" className="rounded-lg bg-bad-soft px-3 py-2 text-sm text-bad">
            {create.error.message}
          </p>
        )}
        <div className="flex flex-wrap justify-end gap-2">
          <Curl method="POST" path="/governance/api-keys" call={{ body }} />
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={create.isPending || scopes.length === 0}>
            {create.isPending ? "Creating…" : "Create"}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
