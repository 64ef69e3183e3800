"use client";

import { useEffect, useRef, useState } from "react";
import { cn } from "@/lib/cn";
import { offset, zone } from "@/lib/numbers";
import { RANGES, type Range, type RangeName } from "@/lib/range";
import { Button } from "./button";
import { Field, input } from "./field";
import { Modal } from "./modal";

/** Which stretch of time; `t` brings the keyboard here. */
export function RangePicker({ range, change }: { range: Range; change: (next: Partial<Range>) => void }) {
  const [custom, setCustom] = useState(false);
  const select = useRef<HTMLSelectElement>(null);
  useEffect(() => {
    const focus = () => select.current?.focus();
    window.addEventListener("asahi:range", focus);
    return () => window.removeEventListener("asahi:range", focus);
  }, []);
  return (
    <>
      <label className="sr-only" htmlFor="range">
        Range
      </label>
      <select
        id="range"
        ref={select}
        className={cn(input, "w-auto")}
        value={range.name}
        onChange={(event) => {
          if (event.target.value === "custom") setCustom(true);
          else change({ name: event.target.value as RangeName, from: null, to: null });
        }}
      >
        {Object.entries(RANGES).map(([name, shown]) => (
          <option key={name} value={name}>
            {shown}
          </option>
        ))}
        <option value="custom">
          {range.name === "custom" ? `${range.from?.slice(0, 10)} – ${range.to?.slice(0, 10)}` : "Custom…"}
        </option>
      </select>
      <Button
        onClick={() => change({ tz: range.tz === "UTC" ? zone() : "UTC" })}
        disabled={zone() === "UTC"}
        title="Days begin in this time zone"
      >
        {range.tz === "UTC" ? "UTC" : offset()}
      </Button>
      <CustomRange key={String(custom)} open={custom} close={() => setCustom(false)} change={change} />
    </>
  );
}

function CustomRange({
  open,
  close,
  change,
}: {
  open: boolean;
  close: () => void;
  change: (next: Partial<Range>) => void;
}) {
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const wrong = from && to && from >= to ? "The end must be after the beginning." : null;
  return (
    <Modal open={open} close={close} title="Custom range">
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          change({ name: "custom", from, to });
          close();
        }}
      >
        <Field label="From">
          {(id) => (
            <input
              id={id}
              type="datetime-local"
              required
              className={input}
              value={from}
              onChange={(event) => setFrom(event.target.value)}
            />
          )}
        </Field>
        <Field label="To" error={wrong}>
          {(id, told) => (
            <input
              id={id}
              type="datetime-local"
              required
              aria-describedby={told}
              className={input}
              value={to}
              onChange={(event) => setTo(event.target.value)}
            />
          )}
        </Field>
        <div className="flex justify-end gap-2">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={Boolean(wrong)}>
            Show
          </Button>
        </div>
      </form>
    </Modal>
  );
}
