"use client";

import { useState } from "react";
import { Button } from "@/components/button";
import { Copy } from "@/components/copy";
import { Field, input, Switch } from "@/components/field";
import { Modal } from "@/components/modal";
import type { Made } from "@/lib/answers";

/** A key that was just made: it is shown here, and never again. */
export function Secret({ made, close }: { made: Made | null; close: () => void }) {
  const [seen, setSeen] = useState(false);
  const [kept, setKept] = useState(false);
  const leave = () => {
    if (!kept) return;
    setSeen(false);
    setKept(false);
    close();
  };
  const download = () => {
    const text = `ASAHI_API_KEY=${made?.api_key}\n`;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = `${made?.name || "asahi"}.env`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <Modal
      open={made !== null}
      close={leave}
      title="Your new key"
      note="It is shown once. Store it before you close this."
    >
      {made && (
        <div className="space-y-4">
          <Field label="Key">
            {(id) => (
              <input
                id={id}
                readOnly
                className={`${input} font-mono`}
                type={seen ? "text" : "password"}
                value={made.api_key}
                autoComplete="off"
                onFocus={(event) => event.target.select()}
              />
            )}
          </Field>
          <div className="flex flex-wrap gap-2">
            <Button size="small" onClick={() => setSeen(!seen)}>
              {seen ? "Hide" : "Show"}
            </Button>
            <Copy text={made.api_key} label="Copy the key" shown="Copy" />
            <Button size="small" onClick={download}>
              Download .env
            </Button>
          </div>
          <Switch label="I have stored it" checked={kept} change={setKept} />
          <div className="flex justify-end">
            <Button kind="primary" disabled={!kept} onClick={leave}>
              Close
            </Button>
          </div>
        </div>
      )}
    </Modal>
  );
}
