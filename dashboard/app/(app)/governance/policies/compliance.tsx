"use client";

import { CheckCircleIcon, XCircleIcon } from "@heroicons/react/24/outline";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { Badge } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Choice, Field, input, Switch } from "@/components/field";
import { Loaded, Refused } from "@/components/states";
import { useTell } from "@/components/toast";
import { ApiError, get, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { time } from "@/lib/numbers";
import { useCan, useMe } from "@/lib/session";

const FRAMEWORKS: Record<string, string> = {
  gdpr: "GDPR",
  hipaa: "HIPAA",
  soc2: "SOC 2",
  pci_dss: "PCI DSS",
  ccpa: "CCPA",
};

interface Profile {
  version: number;
  frameworks: string[];
  data_residency: string | null;
  retention_days: number;
  encryption_required: boolean;
  prompt_storage_allowed: boolean;
  pii_detection_enabled: boolean;
  allowed_providers: string[] | null;
}

/** What the organisation must comply with, and whether the running gateway does. */
export function Compliance() {
  const me = useMe();
  const reads = useCan("view_audit_log");
  const params = { org: me.org_id };
  const found = useQuery<Profile | null, ApiError>({
    queryKey: ["/governance/compliance/{org}", me.org_id],
    queryFn: async ({ signal }) => {
      try {
        return await get<Profile>("/governance/compliance/{org}", { params, signal });
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return null;
        throw error;
      }
    },
    enabled: reads,
  });
  return (
    <Card
      title="Compliance"
      note="A profile is checked when it is saved, and held on every request."
      actions={<Curl path="/governance/compliance/{org}" call={{ params }} />}
    >
      {reads ? (
        <Loaded query={found} height="min-h-48">
          {(profile) => (
            <div className="space-y-5">
              <ProfileForm profile={profile} />
              {profile?.frameworks.map((each) => (
                <Report key={each} framework={each} version={profile.version} />
              ))}
            </div>
          )}
        </Loaded>
      ) : (
        <ProfileForm profile={null} />
      )}
    </Card>
  );
}

function ProfileForm({ profile }: { profile: Profile | null }) {
  const me = useMe();
  const manages = useCan("manage_policy");
  const tell = useTell();
  const client = useQueryClient();
  const [frameworks, setFrameworks] = useState<string[]>([]);
  const [residency, setResidency] = useState("");
  const [days, setDays] = useState("365");
  useEffect(() => {
    setFrameworks(profile?.frameworks ?? []);
    setResidency(profile?.data_residency ?? "");
    setDays(String(profile?.retention_days ?? 365));
  }, [profile]);
  // What its frameworks demand is filled in by the gateway; what was set besides stays.
  const kept = profile ? { allowed_providers: profile.allowed_providers } : {};
  const call = {
    params: { org: me.org_id },
    body: { frameworks, data_residency: residency || null, retention_days: Number(days), ...kept },
    headers: { "if-match": String(profile?.version ?? 0) },
  };
  const save = useMutation<{ version: number }, ApiError>({
    mutationFn: () => request("POST", "/governance/compliance/{org}", call),
    onSuccess: async (told) => {
      tell(`Saved as version ${told.version}`);
      await client.invalidateQueries({ queryKey: ["/governance/compliance/{org}"] });
    },
  });
  return (
    <form
      className="space-y-4"
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate();
      }}
    >
      {profile === null && <p className="text-sm text-muted">There is no profile yet.</p>}
      <fieldset>
        <legend className="mb-2 text-sm font-medium">Frameworks</legend>
        <div className="flex flex-wrap gap-x-6 gap-y-2">
          {Object.entries(FRAMEWORKS).map(([name, shown]) => (
            <Switch
              key={name}
              label={shown}
              checked={frameworks.includes(name)}
              disabled={!manages}
              change={(on) => setFrameworks(on ? [...frameworks, name] : frameworks.filter((each) => each !== name))}
            />
          ))}
        </div>
      </fieldset>
      <div className="grid gap-4 sm:grid-cols-3">
        <Choice
          label="Data stays in"
          value={residency}
          disabled={!manages}
          options={{ "": "any region", eu: "the EU", us: "the US", ap: "Asia-Pacific" }}
          change={setResidency}
        />
        <Field label="Kept for, days">
          {(id) => (
            <input
              id={id}
              type="number"
              min={1}
              max={3650}
              required
              className={input}
              disabled={!manages}
              value={days}
              onChange={(event) => setDays(event.target.value)}
            />
          )}
        </Field>
      </div>
      {profile && (
        <p className="flex flex-wrap gap-2">
          <Badge>{profile.encryption_required ? "encryption required" : "encryption not required"}</Badge>
          <Badge>{profile.prompt_storage_allowed ? "prompts may be stored" : "prompts are not stored"}</Badge>
          <Badge>
            {profile.pii_detection_enabled ? "personal data is detected" : "personal data is not looked for"}
          </Badge>
        </p>
      )}
      {save.error && <Refused error={save.error} />}
      {manages && (
        <div className="flex justify-end">
          <Button type="submit" kind="primary" disabled={save.isPending}>
            {save.isPending ? "Saving…" : "Save profile"}
          </Button>
        </div>
      )}
    </form>
  );
}

interface Found {
  overall_status: string;
  generated_at: string;
  checks_passed: number;
  checks_total: number;
  checks: { check: string; status: string; detail: string }[];
}

function Report({ framework, version }: { framework: string; version: number }) {
  const found = useAnswer<Found>("/governance/compliance/report", { query: { framework } });
  const { refetch } = found;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another version is another report
  useEffect(() => {
    void refetch();
  }, [version, refetch]);
  return (
    <section className="border-t border-line pt-4">
      <Loaded query={found} height="min-h-20">
        {(told) => (
          <>
            <h3 className="mb-2 flex flex-wrap items-center gap-2 text-sm font-semibold">
              {FRAMEWORKS[framework] ?? framework}
              <Badge tone={told.overall_status === "compliant" ? "good" : "bad"}>
                {told.checks_passed} of {told.checks_total} pass
              </Badge>
              <span className="font-normal text-muted">looked at {time(told.generated_at)}</span>
            </h3>
            <ul className="space-y-1 text-sm">
              {told.checks.map((each) => {
                const passed = each.status === "pass";
                const Icon = passed ? CheckCircleIcon : XCircleIcon;
                return (
                  <li key={each.check} className="flex gap-2">
                    <Icon aria-hidden="true" className={`size-5 shrink-0 ${passed ? "text-good" : "text-bad"}`} />
                    <span className="min-w-0">
                      <strong>
                        {each.check.replaceAll("_", " ")}: {each.status}
                      </strong>{" "}
                      <span className="text-muted">{each.detail}</span>
                    </span>
                  </li>
                );
              })}
            </ul>
          </>
        )}
      </Loaded>
    </section>
  );
}
