"use client";

import { Page } from "@/components/page";
import { useCan } from "@/lib/session";
import { Budgets } from "./budgets";
import { Compliance } from "./compliance";
import { PolicySection } from "./policy";

export default function Policies() {
  const money = useCan("view_cost");
  const audits = useCan("view_audit_log");
  const manages = useCan("manage_policy");
  return (
    <Page title="Policies" note="What the organisation may ask and spend, and what it must comply with.">
      <PolicySection />
      {money && <Budgets />}
      {(audits || manages) && <Compliance />}
    </Page>
  );
}
