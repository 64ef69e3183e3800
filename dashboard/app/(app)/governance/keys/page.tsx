"use client";

import { Page } from "@/components/page";
import { KeyList } from "./list";

export default function Keys() {
  return (
    <Page title="API keys" note="Who and what may call the gateway.">
      <KeyList />
    </Page>
  );
}
