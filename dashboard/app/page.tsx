import { ArrowRightIcon } from "@heroicons/react/24/outline";
import Link from "next/link";
import { buttonStyle } from "@/components/button";
import { Logo } from "@/components/mark";

export const metadata = { title: "Asahi: the LLM gateway that cuts the bill and can prove it" };

const TIERS = [
  {
    name: "Tier 1: exact",
    told: "The same question of the same tenant is answered again without asking a model.",
  },
  {
    name: "Tier 2: semantic",
    told: "A question that means the same is answered too, but only where a measured error bound holds. Wrong hits are looked for, counted and shown.",
  },
  {
    name: "Tier 3: intermediate",
    told: "Steps over the same document are computed once. Only the missing ones are paid for.",
  },
];

const TARGETS = [
  ["Saving by exact cache and routing", "58 %"],
  ["Saving with all three tiers", "85 to 92 %"],
  ["Answers from a cache", "75 to 90 %"],
  ["Wrong semantic hits", "below 1 %"],
];

const STEPS = [
  ["Point your client at it", "The OpenAI and Anthropic SDKs work unchanged: the address is all that differs."],
  [
    "Asahi decides",
    "It asks its caches, then takes the cheapest model that is good enough, and keeps to your budgets.",
  ],
  [
    "Read the proof",
    "Each answer has its price, its baseline and its reasons. The savings ledger can be verified offline.",
  ],
];

export default function Landing() {
  return (
    <>
      <header className="border-b border-line bg-card">
        <nav aria-label="Site" className="mx-auto flex max-w-[1184px] flex-wrap items-center gap-x-6 gap-y-1 px-4 py-2">
          <Logo />
          <ul className="order-last flex w-full flex-wrap gap-x-5 text-sm sm:order-none sm:w-auto">
            <li>
              <a className="inline-flex min-h-10 items-center hover:underline" href="#tiers">
                Products
              </a>
            </li>
            <li>
              <a className="inline-flex min-h-10 items-center hover:underline" href="#start">
                How it works
              </a>
            </li>
            <li>
              <a
                className="inline-flex min-h-10 items-center hover:underline"
                href={`${process.env.NEXT_PUBLIC_API_PREFIX ?? ""}/docs`}
              >
                API docs
              </a>
            </li>
          </ul>
          <span className="ml-auto flex gap-2">
            <Link href="/login/" prefetch={false} className={buttonStyle()}>
              Log in
            </Link>
            <a href="#start" className={buttonStyle({ kind: "primary" })}>
              Get started
            </a>
          </span>
        </nav>
      </header>
      <main>
        <section className="mx-auto grid max-w-[1184px] items-center gap-10 px-4 py-16 lg:grid-cols-2">
          <div>
            <p className="font-semibold text-accent-ink">The LLM gateway that shows its books</p>
            <h1 className="mt-2 text-4xl font-bold tracking-tight sm:text-5xl">
              Pay less for the same answers. Prove it.
            </h1>
            <p className="mt-5 max-w-prose text-lg text-muted">
              Asahi stands between your programs and the model vendors. It answers what it knows, sends the rest to the
              cheapest model that is good enough, and writes down to the billionth of a dollar what that saved.
            </p>
            <p className="mt-8 flex flex-wrap gap-3">
              <Link href="/dashboard/" prefetch={false} className={buttonStyle({ kind: "primary" })}>
                Open the dashboard <ArrowRightIcon aria-hidden="true" className="size-4" />
              </Link>
              <a href="#start" className={buttonStyle()}>
                See how it works
              </a>
            </p>
          </div>
          <Picture />
        </section>
        <section id="tiers" aria-labelledby="tiers-title" className="border-y border-line bg-card">
          <div className="mx-auto max-w-[1184px] px-4 py-14">
            <h2 id="tiers-title" className="text-2xl font-semibold">
              Three tiers before a model is asked
            </h2>
            <ul className="mt-6 grid gap-4 md:grid-cols-3">
              {TIERS.map((tier, at) => (
                <li
                  key={tier.name}
                  className={
                    at === 1
                      ? "rounded-xl border-2 border-accent-ink bg-accent-soft p-5"
                      : "rounded-xl border border-line p-5"
                  }
                >
                  <h3 className="font-semibold">{tier.name}</h3>
                  <p className={at === 1 ? "mt-2 text-sm" : "mt-2 text-sm text-muted"}>{tier.told}</p>
                </li>
              ))}
            </ul>
          </div>
        </section>
        <section aria-labelledby="targets-title" className="mx-auto max-w-[1184px] px-4 py-14">
          <h2 id="targets-title" className="text-2xl font-semibold">
            What we aim at
          </h2>
          <p className="mt-2 max-w-prose text-sm text-muted">
            These are targets, not measurements. Measure your own with <code className="text-ink">asahi benchmark</code>
            : it prints both bills, the saving with its interval, the wrong hits and the quality kept.
          </p>
          <dl className="mt-6 grid gap-4 sm:grid-cols-2 lg:grid-cols-4">
            {TARGETS.map(([name, value]) => (
              <div key={name} className="rounded-xl border border-line bg-card p-5">
                <dt className="text-sm text-muted">{name} (target)</dt>
                <dd className="mt-1 text-xl font-semibold">{value}</dd>
              </div>
            ))}
          </dl>
        </section>
        <section id="start" aria-labelledby="start-title" className="border-t border-line bg-card">
          <div className="mx-auto max-w-[1184px] px-4 py-14">
            <h2 id="start-title" className="text-2xl font-semibold">
              Two lines to begin
            </h2>
            <pre className="mt-4 whitespace-pre-wrap break-words rounded-xl border border-line bg-surface p-4 text-sm">
              {
                'client = OpenAI(base_url="http://localhost:8000/v1", api_key="ask_…")\nclient.chat.completions.create(model="auto", messages=[…])'
              }
            </pre>
            <ol className="mt-8 grid gap-6 md:grid-cols-3">
              {STEPS.map(([name, told], at) => (
                <li key={name}>
                  <p className="text-sm font-semibold text-accent-ink">Step {at + 1}</p>
                  <h3 className="mt-1 font-semibold">{name}</h3>
                  <p className="mt-1 text-sm text-muted">{told}</p>
                </li>
              ))}
            </ol>
          </div>
        </section>
        <section aria-labelledby="call-title" className="bg-accent text-on-accent">
          <div className="mx-auto flex max-w-[1184px] flex-wrap items-center justify-between gap-4 px-4 py-10">
            <h2 id="call-title" className="text-2xl font-semibold">
              See what your traffic would save
            </h2>
            <Link
              href="/inference/"
              prefetch={false}
              className="inline-flex min-h-10 items-center rounded-lg border-2 border-on-accent px-4 text-sm font-semibold outline-offset-4 focus-visible:outline-on-accent"
            >
              Try a prompt
            </Link>
          </div>
        </section>
      </main>
      <footer className="bg-[#1c1917] text-[#f5f5f4]">
        <div className="mx-auto flex max-w-[1184px] flex-wrap justify-between gap-4 px-4 py-8 text-sm">
          <p>Asahi is open source under Apache-2.0.</p>
          <p>It calls the model vendors you configure, and nobody else.</p>
        </div>
      </footer>
    </>
  );
}

/** Where Asahi stands: drawn, so that it needs no picture from anywhere. */
function Picture() {
  const box = "rounded-lg border border-line bg-card px-3 py-2 text-center text-sm";
  return (
    <div aria-hidden="true" className="rounded-2xl border border-line bg-surface p-5">
      <div className={box}>Your programs</div>
      <p className="py-1 text-center text-muted">↓ ↑</p>
      <div className="rounded-xl border-2 border-accent-ink bg-accent-soft p-4">
        <p className="mb-3 text-center font-semibold">Asahi</p>
        <div className="grid grid-cols-3 gap-2">
          {["Exact", "Semantic", "Steps"].map((name) => (
            <div key={name} className={box}>
              {name}
            </div>
          ))}
        </div>
        <div className={`${box} mt-2`}>Routing, budgets, policies</div>
        <div className={`${box} mt-2`}>Ledger and audit log</div>
      </div>
      <p className="py-1 text-center text-muted">↓ only what must be paid for</p>
      <div className="grid grid-cols-3 gap-2">
        {["OpenAI", "Anthropic", "Cohere"].map((name) => (
          <div key={name} className={box}>
            {name}
          </div>
        ))}
      </div>
    </div>
  );
}
